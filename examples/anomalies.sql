-- Anomalies: which rows are not like the others? Nobody labelled them.
--
--   psql -f examples/anomalies.sql
--
-- Shows: the task anomaly with its three algorithms, scores and flags for rows and tables.
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgml;

-- A thousand ordinary payments, and ten that are not
SELECT setseed(0.25);
CREATE TABLE IF NOT EXISTS payment (id int PRIMARY KEY, amount float8, hour float8, items int, odd boolean);
TRUNCATE payment;
INSERT INTO payment
    SELECT id, 20 + 60 * random(), 9 + 9 * random(), 1 + floor(5 * random())::int, false FROM generate_series(1, 1000) AS id;
INSERT INTO payment
    SELECT id, 900 + 400 * random(), 2 + 2 * random(), 40 + floor(20 * random())::int, true FROM generate_series(1001, 1010) AS id;
CREATE OR REPLACE VIEW payment_features AS SELECT amount, hour, items FROM payment;

SELECT * FROM pgml.train('Odd Payments', 'anomaly', 'payment_features', algorithm => 'isolation_forest',
                         hyperparams => '{"contamination": 0.01}');
SELECT id, odd, pgml.is_anomaly('Odd Payments', ARRAY[amount, hour, items]) AS flagged,
       round(pgml.anomaly_score('Odd Payments', ARRAY[amount, hour, items])::numeric, 2) AS score
FROM payment WHERE id IN (1, 2, 3, 1001, 1002) ORDER BY id;

SELECT * FROM pgml.train('Odd Payments', algorithm => 'local_outlier_factor', hyperparams => '{"contamination": 0.01}',
                         automatic_deploy => false);
SELECT * FROM pgml.train('Odd Payments', algorithm => 'one_class_svm', hyperparams => '{"nu": 0.01}',
                         automatic_deploy => false);
SELECT * FROM pgml.deploy('Odd Payments', 'most_recent', 'isolation_forest');

-- The strangest ten of the whole table
SELECT p.key, b.odd FROM pgml.predict_rows('Odd Payments', 'SELECT id, amount, hour, items FROM payment') AS p
    JOIN payment AS b ON b.id = p.key::int ORDER BY p.score DESC LIMIT 10;
