-- Joint regression: three targets at once. Twenty men of a fitness club: what they did, what they are.
--
--   psql -f examples/joint_regression.sql
--
-- Shows: train_joint and predict_joint with every algorithm; those that know one target only are
-- fitted once per target.
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgml;

SELECT * FROM pgml.load_dataset('linnerud');
SELECT * FROM pgml.linnerud LIMIT 5;

SELECT * FROM pgml.train_joint('Exercise vs Physiology', 'regression', 'pgml.linnerud', ARRAY['weight', 'waist', 'pulse']);
SELECT ARRAY[weight, waist, pulse] AS targets, pgml.predict_joint('Exercise vs Physiology', ARRAY[chins, situps, jumps]) AS predicted
FROM pgml.linnerud LIMIT 10;

SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'ridge');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'lasso');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'elastic_net');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'least_angle');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'lasso_least_angle');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'orthogonal_matching_pursuit');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'bayesian_ridge');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'automatic_relevance_determination');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'stochastic_gradient_descent');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'passive_aggressive');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'ransac');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'theil_sen', hyperparams => '{"max_iter": 10, "max_subpopulation": 50}');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'huber');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'quantile');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'kernel_ridge');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'gaussian_process');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'svm');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'nu_svm');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'linear_svm');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'knn', hyperparams => '{"n_neighbors": 3}');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'ada_boost', hyperparams => '{"n_estimators": 5}');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'bagging', hyperparams => '{"n_estimators": 5}');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'extra_trees', hyperparams => '{"n_estimators": 5}');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'gradient_boosting_trees', hyperparams => '{"n_estimators": 5}');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'random_forest', hyperparams => '{"n_estimators": 5}');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'xgboost', hyperparams => '{"n_estimators": 5}');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'xgboost_random_forest', hyperparams => '{"n_estimators": 5}');
SELECT * FROM pgml.train_joint('Exercise vs Physiology', algorithm => 'lightgbm', hyperparams => '{"n_estimators": 5, "min_child_samples": 2}');

SELECT * FROM pgml.deploy('Exercise vs Physiology', 'best_score');
SELECT name, algorithm FROM pgml.deployed_models;
SELECT pgml.predict_joint('Exercise vs Physiology', ARRAY[5, 160, 60]) AS weight_waist_pulse;
