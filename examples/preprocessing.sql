-- Preprocessing: text, missing values and scales, learnt with the model and applied to each row.
--
--   psql -f examples/preprocessing.sql
--
-- Shows: encode, impute and scale; predictions for rows; what a diamond is worth.
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgml;

-- Two thousand diamonds that we make ourselves; the price follows the carat and the cut, and one
-- carat in twenty is not known.
SELECT setseed(0.5);
CREATE TABLE IF NOT EXISTS diamond (id int PRIMARY KEY, carat float8, cut text, color text, depth real, price float8);
TRUNCATE diamond;
INSERT INTO diamond
    SELECT id, CASE WHEN id % 20 <> 0 THEN carat END, (ARRAY['Fair', 'Good', 'Premium', 'Ideal'])[cut],
           (ARRAY['D', 'G', 'J'])[1 + id % 3], 60 + 3 * random(),
           round((4000 * carat * carat * (0.7 + 0.1 * cut) * (1.1 - 0.1 * (id % 3)) + 50 * random())::numeric, 2)
    FROM (SELECT id, 0.2 + 1.8 * random() AS carat, 1 + floor(4 * random())::int AS cut FROM generate_series(1, 2000) AS id) AS d;
CREATE OR REPLACE VIEW diamond_features AS SELECT carat, cut, color, depth, price FROM diamond;

SELECT * FROM pgml.train(
    'Diamond Prices', 'regression', 'diamond_features', 'price',
    algorithm => 'lightgbm',
    preprocess => '{
        "carat": {"impute": "mean", "scale": "standard"},
        "cut":   {"encode": {"ordinal": ["Fair", "Good", "Premium", "Ideal"]}},
        "color": {"encode": "one_hot"},
        "depth": {"scale": "min_max"}
    }'
);
SELECT round((metrics ->> 'r2')::numeric, 2) AS r2 FROM pgml.models ORDER BY id DESC LIMIT 1;

-- A row has the values as they are in the table, in the order of the columns.
SELECT price, pgml.predict('Diamond Prices', (carat, cut, color, depth)) AS predicted FROM diamond ORDER BY id LIMIT 5;
SELECT pgml.predict('Diamond Prices', (1.5, 'Ideal', 'D', 61)) AS a_fine_one,
       pgml.predict('Diamond Prices', (1.5, 'Fair', 'J', 61)) AS not_so_fine,
       pgml.predict('Diamond Prices', (NULL::float8, 'Good', 'G', 61)) AS of_unknown_weight;

-- The mean price of each cut in place of its name
SELECT * FROM pgml.train(
    'Diamond Prices by target', 'regression', 'diamond_features', 'price', algorithm => 'xgboost',
    preprocess => '{"carat": {"impute": "median"}, "cut": {"encode": "target"}, "color": {"encode": "target", "scale": "robust"}}'
);

-- The whole table; columns go by their names.
SELECT count(*), round(avg(abs(p.prediction - d.price)::numeric), 0) < 400 AS close
FROM pgml.predict_rows('Diamond Prices', 'SELECT id, carat, cut, color, depth FROM diamond') AS p
    JOIN diamond AS d ON d.id = p.key::int;
