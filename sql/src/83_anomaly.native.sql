-- What a model of the task anomaly says of one row: how strange it is, and whether that is too much.
--
-- The server's score grows with strangeness. The flag is its prediction: 1 for an anomaly, 0 for
-- a row like the others, by the share of anomalies that was expected in training.

CREATE FUNCTION pgml.anomaly_score(project_name text, features double precision[]) RETURNS real
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    answer real := (
        SELECT r.score FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT p.serving FROM pgml.projects AS p
                  WHERE p.name OPERATOR(pg_catalog.=) anomaly_score.project_name)
          AND r.features OPERATOR(pg_catalog.=) anomaly_score.features::real[]);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.serving_artifact(anomaly_score.project_name);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.anomaly_score(text, double precision[]) IS
    'how strange one row is by the deployed model of a project: the higher, the stranger';
GRANT EXECUTE ON FUNCTION pgml.anomaly_score(text, double precision[]) TO pgml_user;

CREATE FUNCTION pgml.anomaly_score(project_name text, "row" record) RETURNS real
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    given pg_catalog.text := pg_catalog.to_json("row");
    answer real := (
        SELECT r.score FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT p.serving FROM pgml.projects AS p
                  WHERE p.name OPERATOR(pg_catalog.=) anomaly_score.project_name)
          AND r."row" OPERATOR(pg_catalog.=) given);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.serving_artifact(anomaly_score.project_name);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.anomaly_score(text, record) IS
    'how strange one row is by the deployed model of a project: the higher, the stranger, with the preprocessing of the training';
GRANT EXECUTE ON FUNCTION pgml.anomaly_score(text, record) TO pgml_user;

CREATE FUNCTION pgml.anomaly_score(model_id bigint, features double precision[]) RETURNS real
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    answer real := (
        SELECT r.score FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT m.artifact FROM pgml.models AS m
                  WHERE m.id OPERATOR(pg_catalog.=) anomaly_score.model_id)
          AND r.features OPERATOR(pg_catalog.=) anomaly_score.features::real[]);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.model_artifact(anomaly_score.model_id);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.anomaly_score(bigint, double precision[]) IS
    'how strange one row is by one model: the higher, the stranger';
GRANT EXECUTE ON FUNCTION pgml.anomaly_score(bigint, double precision[]) TO pgml_user;

CREATE FUNCTION pgml.anomaly_score(model_id bigint, "row" record) RETURNS real
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    given pg_catalog.text := pg_catalog.to_json("row");
    answer real := (
        SELECT r.score FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT m.artifact FROM pgml.models AS m
                  WHERE m.id OPERATOR(pg_catalog.=) anomaly_score.model_id)
          AND r."row" OPERATOR(pg_catalog.=) given);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.model_artifact(anomaly_score.model_id);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.anomaly_score(bigint, record) IS
    'how strange one row is by one model: the higher, the stranger, with the preprocessing of the training';
GRANT EXECUTE ON FUNCTION pgml.anomaly_score(bigint, record) TO pgml_user;

CREATE FUNCTION pgml.is_anomaly(project_name text, features double precision[]) RETURNS boolean
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    answer boolean := (
        SELECT r.prediction OPERATOR(pg_catalog.=) 1 FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT p.serving FROM pgml.projects AS p
                  WHERE p.name OPERATOR(pg_catalog.=) is_anomaly.project_name)
          AND r.features OPERATOR(pg_catalog.=) is_anomaly.features::real[]);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.serving_artifact(is_anomaly.project_name);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.is_anomaly(text, double precision[]) IS
    'whether one row is an anomaly by the deployed model of a project';
GRANT EXECUTE ON FUNCTION pgml.is_anomaly(text, double precision[]) TO pgml_user;

CREATE FUNCTION pgml.is_anomaly(project_name text, "row" record) RETURNS boolean
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    given pg_catalog.text := pg_catalog.to_json("row");
    answer boolean := (
        SELECT r.prediction OPERATOR(pg_catalog.=) 1 FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT p.serving FROM pgml.projects AS p
                  WHERE p.name OPERATOR(pg_catalog.=) is_anomaly.project_name)
          AND r."row" OPERATOR(pg_catalog.=) given);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.serving_artifact(is_anomaly.project_name);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.is_anomaly(text, record) IS
    'whether one row is an anomaly by the deployed model of a project, with the preprocessing of the training';
GRANT EXECUTE ON FUNCTION pgml.is_anomaly(text, record) TO pgml_user;

CREATE FUNCTION pgml.is_anomaly(model_id bigint, features double precision[]) RETURNS boolean
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    answer boolean := (
        SELECT r.prediction OPERATOR(pg_catalog.=) 1 FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT m.artifact FROM pgml.models AS m
                  WHERE m.id OPERATOR(pg_catalog.=) is_anomaly.model_id)
          AND r.features OPERATOR(pg_catalog.=) is_anomaly.features::real[]);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.model_artifact(is_anomaly.model_id);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.is_anomaly(bigint, double precision[]) IS
    'whether one row is an anomaly by one model';
GRANT EXECUTE ON FUNCTION pgml.is_anomaly(bigint, double precision[]) TO pgml_user;

CREATE FUNCTION pgml.is_anomaly(model_id bigint, "row" record) RETURNS boolean
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    given pg_catalog.text := pg_catalog.to_json("row");
    answer boolean := (
        SELECT r.prediction OPERATOR(pg_catalog.=) 1 FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT m.artifact FROM pgml.models AS m
                  WHERE m.id OPERATOR(pg_catalog.=) is_anomaly.model_id)
          AND r."row" OPERATOR(pg_catalog.=) given);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.model_artifact(is_anomaly.model_id);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.is_anomaly(bigint, record) IS
    'whether one row is an anomaly by one model, with the preprocessing of the training';
GRANT EXECUTE ON FUNCTION pgml.is_anomaly(bigint, record) TO pgml_user;
