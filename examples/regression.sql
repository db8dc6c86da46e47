-- Regression: how far did diabetes progress in a year? 442 patients, ten measurements.
--
--   psql -f examples/regression.sql
--
-- Shows: every algorithm for regression, predictions by project and by model, a grid, feature_stats.
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgml;

SELECT * FROM pgml.load_dataset('diabetes');
SELECT * FROM pgml.diabetes LIMIT 5;

SELECT * FROM pgml.train('Diabetes Progression', 'regression', 'pgml.diabetes', 'target');
SELECT target, pgml.predict('Diabetes Progression', ARRAY[age, sex, bmi, bp, s1, s2, s3, s4, s5, s6]) AS predicted
FROM pgml.diabetes LIMIT 10;

-- By the number of a model, whichever is deployed
SELECT id AS model_id FROM pgml.models ORDER BY id LIMIT 1 \gset
SELECT target, pgml.predict(:model_id, ARRAY[age, sex, bmi, bp, s1, s2, s3, s4, s5, s6]) AS predicted
FROM pgml.diabetes LIMIT 3;

-- Linear models
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'ridge');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'lasso');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'elastic_net');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'least_angle');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'lasso_least_angle');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'orthogonal_matching_pursuit');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'bayesian_ridge');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'automatic_relevance_determination');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'stochastic_gradient_descent');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'passive_aggressive');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'ransac');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'theil_sen', hyperparams => '{"max_iter": 10, "max_subpopulation": 100}');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'huber');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'quantile');

-- Kernels and neighbours
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'kernel_ridge');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'gaussian_process');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'svm', hyperparams => '{"max_iter": 1000}');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'nu_svm', hyperparams => '{"max_iter": 1000}');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'linear_svm', hyperparams => '{"max_iter": 1000}');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'knn');

-- Ensembles
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'ada_boost', hyperparams => '{"n_estimators": 5}');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'bagging', hyperparams => '{"n_estimators": 5}');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'extra_trees', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'gradient_boosting_trees', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'hist_gradient_boosting', hyperparams => '{"max_iter": 10}');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'random_forest', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'xgboost', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'xgboost_random_forest', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'lightgbm', hyperparams => '{"n_estimators": 10}');
SELECT count(*) > 0 AS has_catboost FROM pgml.python_pip_freeze() WHERE package ILIKE 'catboost=%' \gset
\if :has_catboost
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'catboost', hyperparams => '{"iterations": 10}');
\endif

-- Both runtimes
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'linear', runtime => 'python');
SELECT * FROM pgml.train('Diabetes Progression', algorithm => 'linear', runtime => 'rust');

-- A grid
SELECT * FROM pgml.train(
    'Diabetes Progression', algorithm => 'xgboost',
    hyperparams => '{"eval_metric": "rmse"}',
    search => 'grid', search_params => '{"max_depth": [1, 2], "n_estimators": [20, 40]}', search_args => '{"cv": 2}'
);
-- The same, tried at random
SELECT * FROM pgml.train(
    'Diabetes Progression', algorithm => 'ridge',
    search => 'random', search_params => '{"alpha": [0.01, 0.03, 0.1, 0.3, 1, 3]}', search_args => '{"n_iter": 3, "cv": 2}'
);

SELECT algorithm, round((metrics ->> 'r2')::numeric, 3) AS r2,
       round((metrics ->> 'mean_absolute_error')::numeric, 1) AS mae
FROM pgml.models ORDER BY (metrics ->> 'r2')::float8 DESC LIMIT 10;

SELECT * FROM pgml.deploy('Diabetes Progression', 'best_score');
SELECT * FROM pgml.feature_stats((SELECT max(id) FROM pgml.snapshots)) LIMIT 5;
SELECT pgml.sklearn_regression_metrics(array_agg(target), array_agg(prediction)) AS metrics
FROM (SELECT target, pgml.predict('Diabetes Progression', ARRAY[age, sex, bmi, bp, s1, s2, s3, s4, s5, s6]) AS prediction
      FROM pgml.diabetes) AS p;
