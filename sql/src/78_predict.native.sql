-- pgml.predict: one project or model, one row, one answer. Names of arguments are API.
--
-- The artifact is found by a sub-select in the qual, so that a call is one statement: a second
-- would cost as much as the lookup itself. The sub-select gives NULL where nothing is deployed,
-- the scan then has no row, and only then a function of 77_serving says why. STABLE: a deployment
-- may change between statements. No EXCEPTION block: it fails in a parallel worker. COST: a call
-- takes about a tenth of a millisecond. The array form does no preprocessing, the row form all.

CREATE FUNCTION pgml.predict(project_name text, features real[]) RETURNS real
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    answer real := (
        SELECT r.prediction FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT p.serving FROM pgml.projects AS p
                  WHERE p.name OPERATOR(pg_catalog.=) predict.project_name)
          AND r.features OPERATOR(pg_catalog.=) predict.features);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.serving_artifact(predict.project_name);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.predict(text, real[]) IS
    'prediction for one row of features by the deployed model of a project; for text labels the code, see pgml.predict_label';
GRANT EXECUTE ON FUNCTION pgml.predict(text, real[]) TO pgml_user;

CREATE FUNCTION pgml.predict(project_name text, "row" anyelement) RETURNS real
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    given pg_catalog.text := pgml.row_text("row");
    answer real := (
        SELECT r.prediction FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT p.serving FROM pgml.projects AS p
                  WHERE p.name OPERATOR(pg_catalog.=) predict.project_name)
          AND r."row" OPERATOR(pg_catalog.=) given);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.serving_artifact(predict.project_name);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.predict(text, anyelement) IS
    'prediction for one row, such as (a, b, c) or a row of a table, with the preprocessing of the training';
GRANT EXECUTE ON FUNCTION pgml.predict(text, anyelement) TO pgml_user;

CREATE FUNCTION pgml.predict(model_id bigint, features real[]) RETURNS real
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    answer real := (
        SELECT r.prediction FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT m.artifact FROM pgml.models AS m
                  WHERE m.id OPERATOR(pg_catalog.=) predict.model_id)
          AND r.features OPERATOR(pg_catalog.=) predict.features);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.model_artifact(predict.model_id);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.predict(bigint, real[]) IS
    'prediction for one row of features by one model';
GRANT EXECUTE ON FUNCTION pgml.predict(bigint, real[]) TO pgml_user;

CREATE FUNCTION pgml.predict(model_id bigint, "row" anyelement) RETURNS real
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    given pg_catalog.text := pgml.row_text("row");
    answer real := (
        SELECT r.prediction FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT m.artifact FROM pgml.models AS m
                  WHERE m.id OPERATOR(pg_catalog.=) predict.model_id)
          AND r."row" OPERATOR(pg_catalog.=) given);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.model_artifact(predict.model_id);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.predict(bigint, anyelement) IS
    'prediction for one row by one model, with the preprocessing of the training';
GRANT EXECUTE ON FUNCTION pgml.predict(bigint, anyelement) TO pgml_user;
