-- What a model says besides its prediction: probabilities, labels, several targets, components.
--
-- The functions that PostgresML has take double precision[] where it takes real[]: any array of
-- numbers then fits without a second form, and a second form would make an untyped '{1, 2}' (or a
-- driver's untyped parameter) ambiguous. What is ours alone has a form for rows as well.

CREATE FUNCTION pgml.predict_proba(project_name text, features double precision[]) RETURNS real[]
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    answer real[] := (
        SELECT r.probabilities FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT p.serving FROM pgml.projects AS p
                  WHERE p.name OPERATOR(pg_catalog.=) predict_proba.project_name)
          AND r.features OPERATOR(pg_catalog.=) predict_proba.features::real[]);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.serving_artifact(predict_proba.project_name);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.predict_proba(text, double precision[]) IS
    'probabilities of the classes, in ascending order of their codes, by the deployed model of a project; several rows flattened into one array give their probabilities one after the other';
GRANT EXECUTE ON FUNCTION pgml.predict_proba(text, double precision[]) TO pgml_user;

CREATE FUNCTION pgml.predict_proba(model_id bigint, features double precision[]) RETURNS real[]
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    answer real[] := (
        SELECT r.probabilities FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT m.artifact FROM pgml.models AS m
                  WHERE m.id OPERATOR(pg_catalog.=) predict_proba.model_id)
          AND r.features OPERATOR(pg_catalog.=) predict_proba.features::real[]);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.model_artifact(predict_proba.model_id);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.predict_proba(bigint, double precision[]) IS
    'probabilities of the classes, in ascending order of their codes, by one model; several rows flattened into one array give their probabilities one after the other';
GRANT EXECUTE ON FUNCTION pgml.predict_proba(bigint, double precision[]) TO pgml_user;

CREATE FUNCTION pgml.predict_proba_row(project_name text, "row" record) RETURNS real[]
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    given pg_catalog.text := pg_catalog.to_json("row");
    answer real[] := (
        SELECT r.probabilities FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT p.serving FROM pgml.projects AS p
                  WHERE p.name OPERATOR(pg_catalog.=) predict_proba_row.project_name)
          AND r."row" OPERATOR(pg_catalog.=) given);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.serving_artifact(predict_proba_row.project_name);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.predict_proba_row(text, record) IS
    'probabilities of the classes, in ascending order of their codes, for one row with the preprocessing of the training, by the deployed model of a project';
GRANT EXECUTE ON FUNCTION pgml.predict_proba_row(text, record) TO pgml_user;

CREATE FUNCTION pgml.predict_proba_row(model_id bigint, "row" record) RETURNS real[]
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    given pg_catalog.text := pg_catalog.to_json("row");
    answer real[] := (
        SELECT r.probabilities FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT m.artifact FROM pgml.models AS m
                  WHERE m.id OPERATOR(pg_catalog.=) predict_proba_row.model_id)
          AND r."row" OPERATOR(pg_catalog.=) given);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.model_artifact(predict_proba_row.model_id);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.predict_proba_row(bigint, record) IS
    'probabilities of the classes, in ascending order of their codes, for one row with the preprocessing of the training, by one model';
GRANT EXECUTE ON FUNCTION pgml.predict_proba_row(bigint, record) TO pgml_user;

CREATE FUNCTION pgml.refuse_joint(task pgml.task) RETURNS void
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
AS $$
BEGIN
    IF refuse_joint.task OPERATOR(pg_catalog.<>) 'regression'::pgml.task THEN
        RAISE EXCEPTION 'You can''t predict several targets with a % model', refuse_joint.task
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'pgml.predict_joint is for regression, as pgml.train_joint trains it; for one value: pgml.predict, for several rows: pgml.predict_batch';
    END IF;
END
$$;
COMMENT ON FUNCTION pgml.refuse_joint(pgml.task) IS 'raises 22023 for a task that has no joint predictions';
GRANT EXECUTE ON FUNCTION pgml.refuse_joint(pgml.task) TO pgml_user;

CREATE FUNCTION pgml.predict_joint(project_name text, features double precision[]) RETURNS real[]
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    answer real[] := (
        SELECT r.predictions FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT p.serving FROM pgml.projects AS p
                  WHERE p.name OPERATOR(pg_catalog.=) predict_joint.project_name
                    AND p.task OPERATOR(pg_catalog.=) 'regression'::pgml.task)
          AND r.features OPERATOR(pg_catalog.=) predict_joint.features::real[]);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.serving_artifact(predict_joint.project_name);
        PERFORM pgml.refuse_joint(p.task) FROM pgml.projects AS p
        WHERE p.name OPERATOR(pg_catalog.=) predict_joint.project_name;
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.predict_joint(text, double precision[]) IS
    'the predictions for all targets of a joint model, by the deployed model of a project';
GRANT EXECUTE ON FUNCTION pgml.predict_joint(text, double precision[]) TO pgml_user;

CREATE FUNCTION pgml.predict_joint(model_id bigint, features double precision[]) RETURNS real[]
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    answer real[] := (
        SELECT r.predictions FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT m.artifact FROM pgml.models AS m
                      JOIN pgml.projects AS p ON p.id OPERATOR(pg_catalog.=) m.project_id
                  WHERE m.id OPERATOR(pg_catalog.=) predict_joint.model_id
                    AND p.task OPERATOR(pg_catalog.=) 'regression'::pgml.task)
          AND r.features OPERATOR(pg_catalog.=) predict_joint.features::real[]);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.model_artifact(predict_joint.model_id);
        PERFORM pgml.refuse_joint(p.task) FROM pgml.models AS m
            JOIN pgml.projects AS p ON p.id OPERATOR(pg_catalog.=) m.project_id
        WHERE m.id OPERATOR(pg_catalog.=) predict_joint.model_id;
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.predict_joint(bigint, double precision[]) IS
    'the predictions for all targets of a joint model, by one model';
GRANT EXECUTE ON FUNCTION pgml.predict_joint(bigint, double precision[]) TO pgml_user;

CREATE FUNCTION pgml.predict_label(project_name text, features double precision[]) RETURNS text
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    answer pg_catalog.text := (
        SELECT r.label FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT p.serving FROM pgml.projects AS p
                  WHERE p.name OPERATOR(pg_catalog.=) predict_label.project_name)
          AND r.features OPERATOR(pg_catalog.=) predict_label.features::real[]);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.serving_artifact(predict_label.project_name);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.predict_label(text, double precision[]) IS
    'the predicted label as text, by the deployed model of a project';
GRANT EXECUTE ON FUNCTION pgml.predict_label(text, double precision[]) TO pgml_user;

CREATE FUNCTION pgml.predict_label(project_name text, "row" record) RETURNS text
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    given pg_catalog.text := pg_catalog.to_json("row");
    answer pg_catalog.text := (
        SELECT r.label FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT p.serving FROM pgml.projects AS p
                  WHERE p.name OPERATOR(pg_catalog.=) predict_label.project_name)
          AND r."row" OPERATOR(pg_catalog.=) given);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.serving_artifact(predict_label.project_name);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.predict_label(text, record) IS
    'the predicted label as text for one row with the preprocessing of the training, by the deployed model of a project';
GRANT EXECUTE ON FUNCTION pgml.predict_label(text, record) TO pgml_user;

CREATE FUNCTION pgml.predict_label(model_id bigint, features double precision[]) RETURNS text
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    answer pg_catalog.text := (
        SELECT r.label FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT m.artifact FROM pgml.models AS m
                  WHERE m.id OPERATOR(pg_catalog.=) predict_label.model_id)
          AND r.features OPERATOR(pg_catalog.=) predict_label.features::real[]);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.model_artifact(predict_label.model_id);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.predict_label(bigint, double precision[]) IS
    'the predicted label as text, by one model';
GRANT EXECUTE ON FUNCTION pgml.predict_label(bigint, double precision[]) TO pgml_user;

CREATE FUNCTION pgml.predict_label(model_id bigint, "row" record) RETURNS text
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    given pg_catalog.text := pg_catalog.to_json("row");
    answer pg_catalog.text := (
        SELECT r.label FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT m.artifact FROM pgml.models AS m
                  WHERE m.id OPERATOR(pg_catalog.=) predict_label.model_id)
          AND r."row" OPERATOR(pg_catalog.=) given);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.model_artifact(predict_label.model_id);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.predict_label(bigint, record) IS
    'the predicted label as text for one row with the preprocessing of the training, by one model';
GRANT EXECUTE ON FUNCTION pgml.predict_label(bigint, record) TO pgml_user;

CREATE FUNCTION pgml.predict_batch(model_id bigint, features double precision[]) RETURNS real[]
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    answer real[] := (
        SELECT r.predictions FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT m.artifact FROM pgml.models AS m
                  WHERE m.id OPERATOR(pg_catalog.=) predict_batch.model_id)
          AND r.features OPERATOR(pg_catalog.=) predict_batch.features::real[]);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.model_artifact(predict_batch.model_id);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.predict_batch(bigint, double precision[]) IS
    'one prediction per row of features, flattened into one array, by one model';
GRANT EXECUTE ON FUNCTION pgml.predict_batch(bigint, double precision[]) TO pgml_user;

CREATE FUNCTION pgml.predict_batch(project_name text, features double precision[]) RETURNS SETOF real
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000 ROWS 100
AS $$
DECLARE
    hash pg_catalog.text := pgml.serving_artifact(predict_batch.project_name);
BEGIN
    RETURN QUERY
        SELECT pg_catalog.unnest(r.predictions) FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) hash
          AND r.features OPERATOR(pg_catalog.=) predict_batch.features::real[];
END
$$;
COMMENT ON FUNCTION pgml.predict_batch(text, double precision[]) IS
    'one row per row of features, flattened into one array as array_agg does, by the deployed model of a project';
GRANT EXECUTE ON FUNCTION pgml.predict_batch(text, double precision[]) TO pgml_user;

CREATE FUNCTION pgml.decompose(project_name text, vector double precision[]) RETURNS real[]
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    answer real[] := (
        SELECT r.components FROM pgml.prediction AS r
        WHERE r.artifact OPERATOR(pg_catalog.=) (
                  SELECT p.serving FROM pgml.projects AS p
                  WHERE p.name OPERATOR(pg_catalog.=) decompose.project_name)
          AND r.features OPERATOR(pg_catalog.=) decompose.vector::real[]);
BEGIN
    IF answer IS NULL THEN
        PERFORM pgml.serving_artifact(decompose.project_name);
    END IF;
    RETURN answer;
END
$$;
COMMENT ON FUNCTION pgml.decompose(text, double precision[]) IS
    'the components of a vector by the deployed decomposition of a project';
GRANT EXECUTE ON FUNCTION pgml.decompose(text, double precision[]) TO pgml_user;
