-- The next steps of each series of a forecasting project.
--
-- An optional input that is not asked for is not written as a qual, so there is a statement for
-- each case. Covariates travel as JSON: their values at the steps to come.
CREATE FUNCTION pgml.forecast(project_name text, horizon integer DEFAULT NULL, covariates jsonb DEFAULT NULL)
    RETURNS TABLE (series text, step integer, at text, prediction double precision, lower double precision, upper double precision)
    LANGUAGE plpgsql STABLE PARALLEL SAFE COST 100000 ROWS 100
AS $$
DECLARE
    hash pg_catalog.text := pgml.serving_artifact(forecast.project_name);
    given pg_catalog.text := forecast.covariates;
BEGIN
    IF given IS NULL AND forecast.horizon IS NULL THEN
        RETURN QUERY
            SELECT f.series, f.step, f.at, f.prediction, f.lower, f.upper FROM pgml.forecasting AS f
            WHERE f.artifact OPERATOR(pg_catalog.=) hash;
    ELSIF given IS NULL THEN
        RETURN QUERY
            SELECT f.series, f.step, f.at, f.prediction, f.lower, f.upper FROM pgml.forecasting AS f
            WHERE f.artifact OPERATOR(pg_catalog.=) hash
              AND f.horizon OPERATOR(pg_catalog.=) forecast.horizon;
    ELSIF forecast.horizon IS NULL THEN
        RETURN QUERY
            SELECT f.series, f.step, f.at, f.prediction, f.lower, f.upper FROM pgml.forecasting AS f
            WHERE f.artifact OPERATOR(pg_catalog.=) hash
              AND f."row" OPERATOR(pg_catalog.=) given;
    ELSE
        RETURN QUERY
            SELECT f.series, f.step, f.at, f.prediction, f.lower, f.upper FROM pgml.forecasting AS f
            WHERE f.artifact OPERATOR(pg_catalog.=) hash
              AND f.horizon OPERATOR(pg_catalog.=) forecast.horizon
              AND f."row" OPERATOR(pg_catalog.=) given;
    END IF;
END
$$;
COMMENT ON FUNCTION pgml.forecast(text, integer, jsonb) IS
    'the next steps of each series with their intervals, by the deployed model of a project; horizon NULL: that of the training';
GRANT EXECUTE ON FUNCTION pgml.forecast(text, integer, jsonb) TO pgml_user;
