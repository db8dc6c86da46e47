-- Decomposition: 64 pixels in three numbers.
--
--   psql -f examples/decomposition.sql
--
-- Shows: pca, decompose, and what the components are good for.
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgml;

SELECT * FROM pgml.load_dataset('digits');
CREATE OR REPLACE VIEW digit_vectors AS SELECT image FROM pgml.digits;

-- All components: nothing is lost.
SELECT * FROM pgml.train('Handwritten Digits Reduction', 'decomposition', 'digit_vectors');
SELECT cardinality(pgml.decompose('Handwritten Digits Reduction', image)) AS components FROM pgml.digits LIMIT 1;

-- Three of them keep about two fifths of the variance.
SELECT * FROM pgml.train('Handwritten Digits Reduction', algorithm => 'pca', hyperparams => '{"n_components": 3}');
SELECT * FROM pgml.deploy('Handwritten Digits Reduction', 'most_recent');
SELECT target, pgml.decompose('Handwritten Digits Reduction', image) AS components FROM pgml.digits LIMIT 5;
SELECT algorithm, hyperparams, round((metrics ->> 'cumulative_explained_variance')::numeric, 3) AS kept
FROM pgml.models ORDER BY id;

-- Pixels may be grouped instead.
SELECT * FROM pgml.train('Handwritten Digits Reduction', algorithm => 'feature_agglomeration', hyperparams => '{"n_clusters": 8}',
                         automatic_deploy => false);

-- The image nearest to the first one, by three numbers instead of 64
WITH reduced AS MATERIALIZED (
    SELECT row_number() OVER () AS id, target, pgml.decompose('Handwritten Digits Reduction', image) AS v FROM pgml.digits
)
SELECT other.id, other.target, round(pgml.distance_l2(first.v, other.v)::numeric, 2) AS distance
FROM reduced AS first JOIN reduced AS other ON other.id > 1
WHERE first.id = 1 ORDER BY distance LIMIT 5;
