-- Which artifact serves: of a project, of a model; and a row as the text that travels.
--
-- The functions that predict find the artifact in their own query and come here only to say why
-- there is none. What reads a whole query (predict_rows, forecast) calls these in its qual.
CREATE FUNCTION pgml.serving_artifact(project_name text) RETURNS text
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
AS $$
DECLARE
    artifact pg_catalog.text := (
        SELECT p.serving FROM pgml.projects AS p
        WHERE p.name OPERATOR(pg_catalog.=) serving_artifact.project_name);
BEGIN
    IF artifact IS NULL THEN
        RAISE EXCEPTION 'No deployed model exists for the project named: `%`', serving_artifact.project_name
            USING ERRCODE = 'undefined_object', HINT = CASE
                WHEN EXISTS (SELECT FROM pgml.projects AS p
                             WHERE p.name OPERATOR(pg_catalog.=) serving_artifact.project_name)
                THEN pg_catalog.format('deploy one of its models: SELECT * FROM pgml.deploy(%L, ''most_recent'')',
                                       serving_artifact.project_name)
                ELSE 'you see no project of that name; those that you see: SELECT name FROM pgml.projects'
            END;
    END IF;
    RETURN artifact;
END
$$;
COMMENT ON FUNCTION pgml.serving_artifact(text) IS
    'hash of the artifact that serves a project; raises 42704 where nothing is deployed';
GRANT EXECUTE ON FUNCTION pgml.serving_artifact(text) TO pgml_user;

CREATE FUNCTION pgml.model_artifact(model_id bigint) RETURNS text
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
AS $$
DECLARE
    artifact pg_catalog.text := (
        SELECT m.artifact FROM pgml.models AS m WHERE m.id OPERATOR(pg_catalog.=) model_artifact.model_id);
BEGIN
    IF artifact IS NULL THEN
        RAISE EXCEPTION 'pgml.models WHERE id = % could not be loaded. Does it exist?', model_artifact.model_id
            USING ERRCODE = 'undefined_object',
                  HINT = 'the models that you may use: SELECT id, name, algorithm FROM pgml.trained_models';
    END IF;
    RETURN artifact;
END
$$;
COMMENT ON FUNCTION pgml.model_artifact(bigint) IS
    'hash of the artifact of a model; raises 42704 where there is none';
GRANT EXECUTE ON FUNCTION pgml.model_artifact(bigint) TO pgml_user;

-- to_json takes any composite, anonymous or named, and a jsonb object, whose keys are then names.
CREATE FUNCTION pgml.row_text("row" anyelement) RETURNS text
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
AS $$
DECLARE
    given pg_catalog.text := pg_catalog.to_json("row");
BEGIN
    IF pg_catalog.left(given, 1) OPERATOR(pg_catalog.<>) '{' THEN
        RAISE EXCEPTION 'This preprocessing requires Postgres `record` types created with `row()`.'
            USING ERRCODE = 'datatype_mismatch',
                  DETAIL = pg_catalog.format('The row is of type %s.', pg_catalog.pg_typeof("row")),
                  HINT = 'pass a row such as (a, b, c), a row of a table, or an array of numbers';
    END IF;
    RETURN given;
END
$$;
COMMENT ON FUNCTION pgml.row_text(anyelement) IS 'a row as the JSON object that the server reads; raises 42804 for what is no row';
GRANT EXECUTE ON FUNCTION pgml.row_text(anyelement) TO pgml_user;
