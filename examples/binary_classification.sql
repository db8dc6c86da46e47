-- Binary classification: is a tumour malignant? 569 of them, 30 measurements each.
--
--   psql -f examples/binary_classification.sql
--
-- Shows: load_dataset, train, predict, probabilities, many algorithms on one snapshot, a grid
-- search, the strategies of deployment, and a whole table scored at once.
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgml;

SELECT * FROM pgml.load_dataset('breast_cancer');
SELECT "mean radius", "mean texture", "worst area", malignant FROM pgml.breast_cancer LIMIT 5;

-- The first training needs a relation and the column to predict. The fit runs next door; what it
-- made is a row of pgml.models and belongs to you.
SELECT * FROM pgml.train('Breast Cancer Detection', 'classification', 'pgml.breast_cancer', 'malignant');

-- The array form takes the features in the order of the columns.
CREATE OR REPLACE VIEW breast_cancer_features AS
    SELECT row_number() OVER () AS id, malignant, ARRAY[
        "mean radius", "mean texture", "mean perimeter", "mean area", "mean smoothness", "mean compactness",
        "mean concavity", "mean concave points", "mean symmetry", "mean fractal dimension",
        "radius error", "texture error", "perimeter error", "area error", "smoothness error", "compactness error",
        "concavity error", "concave points error", "symmetry error", "fractal dimension error",
        "worst radius", "worst texture", "worst perimeter", "worst area", "worst smoothness", "worst compactness",
        "worst concavity", "worst concave points", "worst symmetry", "worst fractal dimension"] AS features
    FROM pgml.breast_cancer;

SELECT malignant, pgml.predict('Breast Cancer Detection', features) AS predicted
FROM breast_cancer_features ORDER BY id LIMIT 10;

-- Probabilities come in the order of the classes: of false, then of true.
SELECT malignant, pgml.predict_proba('Breast Cancer Detection', features) AS probabilities
FROM breast_cancer_features ORDER BY id LIMIT 10;

-- Later trainings use the same snapshot, and so are compared on the same held-out rows. A model
-- is deployed if it is no worse than the one that is.
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'ridge');
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'stochastic_gradient_descent');
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'perceptron');
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'passive_aggressive');

-- Support vectors
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'svm');
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'nu_svm');
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'linear_svm');

-- Ensembles
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'ada_boost');
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'bagging');
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'extra_trees', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'gradient_boosting_trees', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'hist_gradient_boosting', hyperparams => '{"max_iter": 10}');
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'random_forest', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'xgboost', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'xgboost_random_forest', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'lightgbm', hyperparams => '{"n_estimators": 10}');

-- Neighbours and a Gaussian process
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'knn');
SELECT * FROM pgml.train('Breast Cancer Detection', algorithm => 'gaussian_process', hyperparams => '{"max_iter_predict": 10}');

-- What there is now
SELECT id, name, task, algorithm, deployed FROM pgml.trained_models ORDER BY id;
SELECT algorithm, round((metrics ->> 'f1')::numeric, 3) AS f1, round((metrics ->> 'accuracy')::numeric, 3) AS accuracy
FROM pgml.models ORDER BY (metrics ->> 'f1')::float8 DESC;

-- Which one serves is yours to say.
SELECT * FROM pgml.deploy('Breast Cancer Detection', 'most_recent', 'random_forest');
SELECT name, algorithm FROM pgml.deployed_models;

-- A grid of hyperparameters with three folds of cross-validation: 2 × 3 combinations.
SELECT * FROM pgml.train(
    'Breast Cancer Detection',
    algorithm => 'xgboost',
    search => 'grid',
    search_params => '{"max_depth": [1, 2], "n_estimators": [20, 40, 80]}',
    search_args => '{"cv": 3}'
);
SELECT hyperparams ->> 'max_depth' AS max_depth, hyperparams ->> 'n_estimators' AS n_estimators,
       jsonb_array_length(metrics -> 'search_results' -> 'params') AS tried
FROM pgml.models ORDER BY id DESC LIMIT 1;

-- Strategies
SELECT * FROM pgml.deploy('Breast Cancer Detection', 'best_score');
SELECT * FROM pgml.deploy('Breast Cancer Detection', 'most_recent');
SELECT * FROM pgml.deploy('Breast Cancer Detection', 'rollback');
SELECT * FROM pgml.deploy('Breast Cancer Detection', 'best_score', 'svm');
SELECT * FROM pgml.deploy('Breast Cancer Detection');

-- The whole table, streamed; key and prediction come back.
SELECT malignant, prediction, count(*)
FROM pgml.predict_rows('Breast Cancer Detection', 'SELECT id, features FROM breast_cancer_features') AS p
    JOIN breast_cancer_features AS b ON b.id = p.key::bigint
GROUP BY 1, 2 ORDER BY 1, 2;
