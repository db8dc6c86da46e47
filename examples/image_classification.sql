-- Image classification: which digit is this? 1,797 images of 8 × 8 pixels.
--
--   psql -f examples/image_classification.sql
--
-- Shows: an array as the one feature, both runtimes, a grid over kernels, predict_batch.
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgml;

SELECT * FROM pgml.load_dataset('digits');
SELECT target, image FROM pgml.digits LIMIT 2;

SELECT * FROM pgml.train('Handwritten Digits', 'classification', 'pgml.digits', 'target');

-- An image is smallint[][]; any array of numbers will do.
SELECT target, pgml.predict('Handwritten Digits', image) AS predicted FROM pgml.digits LIMIT 10;

-- Both words for a runtime are understood; the library is the same.
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'linear', runtime => 'python');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'xgboost', runtime => 'rust', hyperparams => '{"n_estimators": 10}');

SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'ridge');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'stochastic_gradient_descent');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'perceptron');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'passive_aggressive');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'svm');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'nu_svm', hyperparams => '{"nu": 0.1}');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'linear_svm');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'knn');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'ada_boost');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'bagging');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'extra_trees', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'gradient_boosting_trees', hyperparams => '{"n_estimators": 5}');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'hist_gradient_boosting', hyperparams => '{"max_iter": 5}');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'random_forest', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'xgboost_random_forest', hyperparams => '{"n_estimators": 10}');
SELECT * FROM pgml.train('Handwritten Digits', algorithm => 'lightgbm', hyperparams => '{"n_estimators": 10}');

SELECT algorithm, round((metrics ->> 'f1')::numeric, 3) AS f1, round((metrics ->> 'fit_time')::numeric, 1) AS seconds
FROM pgml.models ORDER BY (metrics ->> 'f1')::float8 DESC;

-- Which kernel? search_results keeps every score.
SELECT * FROM pgml.train(
    'Handwritten Digits', algorithm => 'svm', search => 'grid', search_params => '{"kernel": ["linear", "poly"]}',
    search_args => '{"cv": 2}'
);
SELECT hyperparams ->> 'kernel' AS best, metrics -> 'search_results' -> 'mean_test_score' AS scores
FROM pgml.models ORDER BY id DESC LIMIT 1;

-- Many images in one call: one row per image, in order.
SELECT * FROM pgml.deploy('Handwritten Digits', 'most_recent', 'xgboost');
SELECT pgml.predict_batch('Handwritten Digits', array_agg(image)) AS predicted, unnest(array_agg(target)) AS target
FROM (SELECT * FROM pgml.digits WHERE target = 0 LIMIT 5) AS zeroes;
SELECT pgml.predict_proba('Handwritten Digits', image) AS probabilities FROM pgml.digits LIMIT 1;
SELECT * FROM pgml.deploy('Handwritten Digits', 'best_score');
