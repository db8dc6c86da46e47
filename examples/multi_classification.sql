-- Multi-class classification: which of three irises? And with the names of the species.
--
--   psql -f examples/multi_classification.sql
--
-- Shows: training on a view, text labels, rows in place of arrays, catboost where installed.
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgml;

SELECT * FROM pgml.load_dataset('iris');

-- In random order: the file is sorted by species.
CREATE OR REPLACE VIEW iris_view AS SELECT * FROM pgml.iris ORDER BY md5(iris::text);

SELECT * FROM pgml.train('Iris Flower Types', 'classification', 'iris_view', 'target');
SELECT target, pgml.predict('Iris Flower Types', ARRAY[sepal_length, sepal_width, petal_length, petal_width]) AS predicted
FROM iris_view LIMIT 10;
SELECT pgml.predict_proba('Iris Flower Types', ARRAY[sepal_length, sepal_width, petal_length, petal_width]) AS probabilities
FROM iris_view LIMIT 3;

SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'ridge');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'stochastic_gradient_descent');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'perceptron');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'passive_aggressive');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'gaussian_process');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'svm');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'nu_svm');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'linear_svm');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'knn');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'ada_boost');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'bagging');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'extra_trees', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'gradient_boosting_trees', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'hist_gradient_boosting', hyperparams => '{"max_iter": 10}');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'random_forest', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'xgboost', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'xgboost_random_forest', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'lightgbm', hyperparams => '{"n_estimators": 10}');

-- catboost is an extra of the server.
SELECT count(*) > 0 AS has_catboost FROM pgml.python_pip_freeze() WHERE package ILIKE 'catboost=%' \gset
\if :has_catboost
SELECT * FROM pgml.train('Iris Flower Types', algorithm => 'catboost', hyperparams => '{"iterations": 10}');
\endif

-- Eight combinations
SELECT * FROM pgml.train(
    'Iris Flower Types', algorithm => 'gradient_boosting_trees', search => 'grid',
    search_params => '{"n_estimators": [5, 10], "max_depth": [1, 2], "learning_rate": [0.1, 0.3]}',
    search_args => '{"cv": 2}'
);
SELECT * FROM pgml.compare_models('Iris Flower Types');

-- Labels may be text. predict returns their codes, predict_label the text; and a row of the table
-- will do in place of an array.
CREATE OR REPLACE VIEW iris_species AS
    SELECT sepal_length, sepal_width, petal_length, petal_width,
           (ARRAY['setosa', 'versicolor', 'virginica'])[target + 1] AS species
    FROM iris_view;
SELECT * FROM pgml.train('Iris Species', 'classification', 'iris_species', 'species', algorithm => 'random_forest',
                         hyperparams => '{"n_estimators": 20}');
SELECT species, pgml.predict_label('Iris Species', (sepal_length, sepal_width, petal_length, petal_width)) AS predicted
FROM iris_species LIMIT 10;
