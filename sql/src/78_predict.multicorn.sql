-- Predicting with models of tables needs the native host: say so, rather than "does not exist".
--
-- The server asks for an artifact that it lacks in the middle of a request; a wrapper in Python
-- can run no query then, and cannot ask who may see the model. docs/multicorn.md has the rest.
CREATE FUNCTION pgml.needs_native_host(what text) RETURNS void
    LANGUAGE plpgsql VOLATILE PARALLEL SAFE
AS $$
BEGIN
    RAISE EXCEPTION '% needs the native host of the extension', what
        USING ERRCODE = 'feature_not_supported',
              HINT = 'pgannex install --host native; models that were trained before stay in pgml.files';
END
$$;
COMMENT ON FUNCTION pgml.needs_native_host(text) IS 'raises 0A000: what Multicorn2 cannot do';
GRANT EXECUTE ON FUNCTION pgml.needs_native_host(text) TO pgml_user;

DO $$
DECLARE
    f record;
    made text;
BEGIN
    FOR f IN
        SELECT v.name, m.model, v.result FROM (VALUES
            ('predict', 'real'), ('predict_proba', 'real[]'), ('predict_joint', 'real[]'),
            ('predict_batch', 'real[]'), ('decompose', 'real[]')) AS v (name, result)
        CROSS JOIN (VALUES ('project_name text'), ('model_id bigint')) AS m (model)
    LOOP
        made := pg_catalog.format('pgml.%s(%s, anyelement)', f.name, pg_catalog.split_part(f.model, ' ', 2));
        EXECUTE pg_catalog.format(
            'CREATE FUNCTION pgml.%1$s(%2$s, features anyelement) RETURNS %3$s
                LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
                AS $body$BEGIN PERFORM pgml.needs_native_host(%4$L); RETURN NULL; END$body$',
            f.name, f.model, f.result, 'pgml.' || f.name);
        EXECUTE pg_catalog.format('COMMENT ON FUNCTION %s IS %L', made, 'raises 0A000: predicting needs the native host');
        EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO pgml_user', made);
    END LOOP;
END
$$;
