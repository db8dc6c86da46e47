-- Clustering: groups that nobody named. The digits again, without their targets.
--
--   psql -f examples/clustering.sql
--
-- Shows: training without a label, the silhouette as the metric, the cluster of a new row.
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgml;

SELECT * FROM pgml.load_dataset('digits');
CREATE OR REPLACE VIEW digit_vectors AS SELECT image FROM pgml.digits;
CREATE OR REPLACE VIEW few_digit_vectors AS SELECT image FROM pgml.digits LIMIT 300;

-- kmeans is what clustering starts with.
SELECT * FROM pgml.train('Handwritten Digit Clusters', 'clustering', 'digit_vectors', hyperparams => '{"n_clusters": 10}');
SELECT target, pgml.predict('Handwritten Digit Clusters', image) AS cluster FROM pgml.digits LIMIT 10;

SELECT * FROM pgml.train('Handwritten Digit Clusters', algorithm => 'mini_batch_kmeans', hyperparams => '{"n_clusters": 10}');
SELECT * FROM pgml.train('Handwritten Digit Clusters', algorithm => 'birch', hyperparams => '{"n_clusters": 10}');
SELECT * FROM pgml.train('Handwritten Digit Clusters', algorithm => 'affinity_propagation');

-- These look at every pair of rows, or more.
SELECT * FROM pgml.train('Few Digit Clusters', 'clustering', 'few_digit_vectors', algorithm => 'mean_shift', hyperparams => '{"bandwidth": 28}');
SELECT * FROM pgml.train('Few Digit Clusters', algorithm => 'dbscan', hyperparams => '{"eps": 22, "min_samples": 4}');
SELECT * FROM pgml.train('Few Digit Clusters', algorithm => 'optics', hyperparams => '{"min_samples": 4}');
SELECT * FROM pgml.train('Few Digit Clusters', algorithm => 'spectral', hyperparams => '{"n_clusters": 10, "affinity": "nearest_neighbors"}');
SELECT * FROM pgml.train('Few Digit Clusters', algorithm => 'agglomerative', hyperparams => '{"n_clusters": 10}');
SELECT * FROM pgml.train('Few Digit Clusters', algorithm => 'feature_agglomeration', hyperparams => '{"n_clusters": 10}');

-- And these at rows and columns together; a column that is zero everywhere is none for them.
SELECT * FROM pgml.load_dataset('iris');
CREATE OR REPLACE VIEW iris_vectors AS SELECT sepal_length, sepal_width, petal_length, petal_width FROM pgml.iris;
SELECT * FROM pgml.train('Iris Clusters', 'clustering', 'iris_vectors', algorithm => 'spectral_bi', hyperparams => '{"n_clusters": 3}');
SELECT * FROM pgml.train('Iris Clusters', algorithm => 'spectral_co', hyperparams => '{"n_clusters": 3}');

SELECT p.name, m.algorithm, round((m.metrics ->> 'silhouette')::numeric, 3) AS silhouette
FROM pgml.models AS m JOIN pgml.projects AS p ON p.id = m.project_id ORDER BY m.id;

-- How well do the clusters fit the digits?
SELECT * FROM pgml.deploy('Handwritten Digit Clusters', 'most_recent', 'kmeans');
WITH clustered AS (
    SELECT target, pgml.predict('Handwritten Digit Clusters', image) AS cluster FROM pgml.digits
), counted AS (
    SELECT cluster, target, count(*) AS images FROM clustered GROUP BY cluster, target
)
SELECT DISTINCT ON (cluster) cluster, target AS mostly, images,
       round(images / sum(images) OVER (PARTITION BY cluster), 2) AS share
FROM counted ORDER BY cluster, images DESC;
