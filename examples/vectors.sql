-- Arithmetic on arrays of numbers, and aggregates over them.
--
--   psql -f examples/vectors.sql
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgml;

-- Element by element, with a number or another array
SELECT pgml.add(ARRAY[1.0, 2.0, 3.0], 3) AS add, pgml.subtract(ARRAY[1.0, 2.0, 3.0], 3) AS subtract,
       pgml.multiply(ARRAY[1.0, 2.0, 3.0], 3) AS multiply, pgml.divide(ARRAY[1.0, 2.0, 3.0], 100) AS divide;
SELECT pgml.add(ARRAY[1.0, 2.0, 3.0], ARRAY[1.0, 2.0, 3.0]) AS add,
       pgml.subtract(ARRAY[1.0, 2.0, 3.0], ARRAY[1.0, 2.0, 3.0]) AS subtract,
       pgml.multiply(ARRAY[1.0, 2.0, 3.0], ARRAY[1.0, 2.0, 3.0]) AS multiply,
       pgml.divide(ARRAY[1.0, 2.0, 3.0], ARRAY[1.0, 2.0, 3.0]) AS divide;

-- How long is it?
SELECT pgml.norm_l0(ARRAY[1.0, 0, 3.0]) AS l0, pgml.norm_l1(ARRAY[1.0, 2.0, 3.0]) AS l1,
       round(pgml.norm_l2(ARRAY[1.0, 2.0, 3.0])::numeric, 4) AS l2, pgml.norm_max(ARRAY[1.0, -4.0, 3.0]) AS max;
SELECT pgml.normalize_l1(ARRAY[1.0, 1.0, 2.0]) AS l1, pgml.normalize_l2(ARRAY[3.0, 4.0]) AS l2,
       pgml.normalize_max(ARRAY[1.0, 2.0, 4.0]) AS max;

-- How near are two?
SELECT pgml.distance_l1(ARRAY[1.0, 2.0, 3.0], ARRAY[1.0, 2.0, 5.0]) AS l1,
       pgml.distance_l2(ARRAY[0.0, 0.0], ARRAY[3.0, 4.0]) AS l2,
       pgml.dot_product(ARRAY[1.0, 2.0, 3.0], ARRAY[4.0, 5.0, 6.0]) AS dot,
       pgml.cosine_similarity(ARRAY[1.0, 0.0], ARRAY[2.0, 0.0]) AS cosine;

-- Over rows
CREATE TEMPORARY TABLE vectors (v real[]);
INSERT INTO vectors VALUES ('{0, 0, 0, 0}'), ('{1, 2, 3, 4}'), ('{-2, -4, -6, -8}'), (NULL);
SELECT pgml.sum(v), pgml.min(v), pgml.max(v), pgml.min_abs(v), pgml.max_abs(v) FROM vectors;
SELECT pgml.divide(pgml.sum(v), count(v)) AS mean FROM vectors;
