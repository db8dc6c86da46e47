-- Three roles of the cluster: who may use models, who may train, who may administer.
--
-- Roles outlive the database, so they may be there already. One that may log in was made
-- by somebody for another purpose, and is refused rather than given our rights.
DO $$
DECLARE
    wanted name;
    login boolean;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['pgml_user', 'pgml_trainer', 'pgml_admin']::name[] LOOP
        SELECT r.rolcanlogin INTO login FROM pg_catalog.pg_roles AS r WHERE r.rolname = wanted;
        IF NOT FOUND THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', wanted);
            EXECUTE pg_catalog.format('COMMENT ON ROLE %I IS %L', wanted, CASE wanted
                WHEN 'pgml_user' THEN 'may use pgannex models: embed, and what comes with it'
                WHEN 'pgml_trainer' THEN 'may train models, and all that pgml_user may'
                ELSE 'may load, unload and pin models and see all requests, and all that pgml_trainer may'
            END);
        ELSIF login THEN
            RAISE EXCEPTION 'a role % that may log in is there already', wanted
                USING ERRCODE = 'duplicate_object',
                      HINT = pg_catalog.format('if it may stand for pgannex rights: ALTER ROLE %I NOLOGIN', wanted);
        END IF;
    END LOOP;
    IF NOT pg_catalog.pg_has_role('pgml_trainer', 'pgml_user', 'MEMBER') THEN
        GRANT pgml_user TO pgml_trainer;
    END IF;
    IF NOT pg_catalog.pg_has_role('pgml_admin', 'pgml_trainer', 'MEMBER') THEN
        GRANT pgml_trainer TO pgml_admin;
    END IF;
END
$$;

GRANT USAGE ON SCHEMA pgml TO pgml_user, pg_monitor;
