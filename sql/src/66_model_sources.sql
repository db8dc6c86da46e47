-- Whoever knows the hash of an artifact could write it into a model of their own, and so pass
-- the gate after a grant was taken back. The hash of another role's model is refused. The
-- function sees all rows, with the rights of the registry's owner: policies would hide the one
-- that matters.
CREATE FUNCTION pgml.refuse_foreign_artifact() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM pgml.models AS m WHERE m.artifact = NEW.artifact AND m.owner <> NEW.owner) THEN
        RAISE EXCEPTION 'artifact % belongs to a model of another role', NEW.artifact
            USING ERRCODE = 'insufficient_privilege', HINT = 'train the model, or have its owner call pgml.grant_model';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION pgml.refuse_foreign_artifact() IS
    'trigger of pgml.models: nobody names the artifact of another role''s model';

CREATE TRIGGER models_artifact_owner BEFORE INSERT ON pgml.models
    FOR EACH ROW WHEN (NEW.artifact IS NOT NULL) EXECUTE FUNCTION pgml.refuse_foreign_artifact();
COMMENT ON TRIGGER models_artifact_owner ON pgml.models IS 'nobody names the artifact of another role''s model';

-- A model makes its snapshot visible to whoever may use the model: so it names one of its
-- writer's. A policy of pgml.models cannot say so, for the one of pgml.snapshots reads models.
CREATE FUNCTION pgml.refuse_foreign_snapshot() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF row_security_active('pgml.snapshots') AND NOT EXISTS (
        SELECT FROM pgml.snapshots AS s WHERE s.id = NEW.snapshot_id
        AND (pg_has_role(s.owner, 'USAGE') OR pg_has_role('pgml_admin', 'USAGE'))) THEN
        RAISE EXCEPTION 'snapshot % is not one of role %', NEW.snapshot_id, quote_ident(CURRENT_USER)
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'take a snapshot of your own: SELECT * FROM pgml.snapshot(''schema.table'', ''column'')';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION pgml.refuse_foreign_snapshot() IS
    'trigger of pgml.models: nobody names a snapshot of another role';

CREATE TRIGGER models_snapshot_owner BEFORE INSERT OR UPDATE OF snapshot_id ON pgml.models
    FOR EACH ROW WHEN (NEW.snapshot_id IS NOT NULL) EXECUTE FUNCTION pgml.refuse_foreign_snapshot();
COMMENT ON TRIGGER models_snapshot_owner ON pgml.models IS 'nobody names a snapshot of another role';
