-- The gate that every request passes, through a function or by a direct read of a table.
--
-- The host calls it in the rights of the caller before it sends a request. It raises, or
-- returns the grant that travels to the server, which believes it because it comes from
-- the database's own user. Security invoker: CURRENT_USER is who is asking, also inside a
-- SECURITY DEFINER function of the user's own.
--
-- A trained model is asked about by the hash of its artifact: it may be used by whoever sees a
-- row of pgml.models with that hash, which the policies of that table decide.
CREATE FUNCTION pgml.authorize(model text, verb text) RETURNS jsonb
    LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    administers boolean := pg_has_role(CURRENT_USER, 'pgml_admin', 'USAGE');
    watches boolean := administers OR pg_has_role(CURRENT_USER, 'pg_read_all_stats', 'USAGE');
    allowed text := coalesce(current_setting('pgml.huggingface_whitelist', true), '');
    needed name := CASE
        WHEN authorize.verb = 'control' THEN 'pgml_admin'
        WHEN authorize.verb IN ('train', 'job_result', 'job_control') THEN 'pgml_trainer'
        ELSE 'pgml_user'
    END;
BEGIN
    IF NOT pg_has_role(CURRENT_USER, needed, 'USAGE')
       AND NOT (watches AND authorize.verb LIKE 'stat\_%') THEN
        RAISE EXCEPTION 'role % may not use verb % of pgml', quote_ident(CURRENT_USER), authorize.verb
            USING ERRCODE = 'insufficient_privilege',
                  DETAIL = format('model: %s', coalesce(authorize.model, 'none')),
                  HINT = format('GRANT %I TO %I', needed, CURRENT_USER);
    END IF;
    IF authorize.verb IN ('predict', 'forecast')
       AND NOT EXISTS (SELECT FROM pgml.models AS m WHERE m.artifact = authorize.model) THEN
        RAISE EXCEPTION 'role % may use no model with artifact %', quote_ident(CURRENT_USER), authorize.model
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'its owner may: SELECT pgml.grant_model(project, role)';
    END IF;
    IF authorize.verb = 'embed' AND allowed <> '' AND authorize.model <> ALL (regexp_split_to_array(btrim(allowed, ' "'), '\s*,\s*')) THEN
        RAISE EXCEPTION 'model % is not whitelisted. Consider adding to `pgml.huggingface_whitelist` in postgresql.conf', authorize.model
            USING ERRCODE = 'insufficient_privilege', HINT = format('the setting names: %s', allowed);
    END IF;
    RETURN jsonb_build_object('control', administers, 'see_all', watches);
END
$$;
COMMENT ON FUNCTION pgml.authorize(text, text) IS
    'whether the current role may use verb on model: raises 42501, or returns the grant for the server';
GRANT EXECUTE ON FUNCTION pgml.authorize(text, text) TO pgml_user, pg_monitor;
