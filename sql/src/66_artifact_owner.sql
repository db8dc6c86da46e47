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
