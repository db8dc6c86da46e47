-- Forecasting: two shops, two years of days, and the next fortnight.
--
--   psql -f examples/forecasting.sql
--
-- Shows: a time column, a series key, lags on boosted trees, a backtest as the metrics, intervals.
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgml;

SELECT setseed(0.75);
CREATE TABLE IF NOT EXISTS sale (day date, shop text, amount float8);
TRUNCATE sale;
INSERT INTO sale
    SELECT DATE '2024-01-01' + d, shop,
           base + 30 * sin(2 * pi() * d / 7.0) + 0.05 * d + 4 * random()
    FROM generate_series(0, 729) AS d, (VALUES ('north', 200.0), ('south', 120.0)) AS s (shop, base)
    ORDER BY shop, d;

SELECT * FROM pgml.train('Sales', 'forecasting', 'sale', 'amount', algorithm => 'lightgbm',
    hyperparams => '{"time_column": "day", "series_key": "shop", "horizon": 14, "lags": 14, "n_estimators": 50}');
SELECT jsonb_pretty(metrics) FROM pgml.models ORDER BY id DESC LIMIT 1;

SELECT series, step, at, round(prediction::numeric, 1) AS prediction,
       round(lower::numeric, 1) AS lower, round(upper::numeric, 1) AS upper
FROM pgml.forecast('Sales') ORDER BY series, step LIMIT 14;
SELECT series, count(*) FROM pgml.forecast('Sales', horizon => 3) GROUP BY series ORDER BY series;
