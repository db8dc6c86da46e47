-- Triggers of the registry: what serves a project now, and when a row was changed last.
--
-- The latest deployment of a project counts. It is copied into the project's row, so that a
-- prediction by name costs one look-up. The project's row is locked first: of two
-- deployments at once the second one then sees the first.
CREATE FUNCTION pgml.set_updated_at() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW IS DISTINCT FROM OLD AND NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN
        NEW.updated_at := clock_timestamp();
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION pgml.set_updated_at() IS 'trigger: updated_at becomes now where the row really changes';

CREATE FUNCTION pgml.auto_updated_at(tbl regclass) RETURNS void
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    trigger_name name;
BEGIN
    SELECT c.relname || '_auto_updated_at' INTO trigger_name FROM pg_class AS c WHERE c.oid = auto_updated_at.tbl;
    EXECUTE format('DROP TRIGGER IF EXISTS %I ON %s', trigger_name, auto_updated_at.tbl);
    EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE ON %s FOR EACH ROW EXECUTE FUNCTION pgml.set_updated_at()',
                   trigger_name, auto_updated_at.tbl);
END
$$;
COMMENT ON FUNCTION pgml.auto_updated_at(regclass) IS
    'gives a table of one''s own a trigger that keeps its column updated_at';
GRANT EXECUTE ON FUNCTION pgml.auto_updated_at(regclass), pgml.set_updated_at() TO pgml_user;

CREATE FUNCTION pgml.set_serving() RETURNS trigger
    LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY INVOKER
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    project bigint := CASE TG_OP WHEN 'DELETE' THEN OLD.project_id ELSE NEW.project_id END;
    model bigint;
    hash text;
BEGIN
    PERFORM FROM pgml.projects AS p WHERE p.id = project FOR NO KEY UPDATE;
    SELECT m.id, m.artifact INTO model, hash
    FROM pgml.deployments AS d JOIN pgml.models AS m ON m.id = d.model_id
    WHERE d.project_id = project ORDER BY d.created_at DESC, d.id DESC LIMIT 1;
    UPDATE pgml.projects AS p SET serving = hash, serving_model = model
    WHERE p.id = project AND (p.serving, p.serving_model) IS DISTINCT FROM (hash, model);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION pgml.set_serving() IS 'trigger of pgml.deployments: keeps serving of the project';

CREATE TRIGGER deployments_serving AFTER INSERT OR DELETE ON pgml.deployments
    FOR EACH ROW EXECUTE FUNCTION pgml.set_serving();
COMMENT ON TRIGGER deployments_serving ON pgml.deployments IS 'keeps serving of the project';

SELECT pgml.auto_updated_at('pgml.projects');
SELECT pgml.auto_updated_at('pgml.snapshots');
SELECT pgml.auto_updated_at('pgml.models');
SELECT pgml.auto_updated_at('pgml.files');
