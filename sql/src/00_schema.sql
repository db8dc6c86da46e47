-- Schema pgml belongs to the extension's owner alone.
--
-- A schema pgml that was there before may belong to somebody else, who could then put
-- overloads beside our functions and have them called. Such a schema is refused.
DO $$
DECLARE
    stranger name;
BEGIN
    SELECT r.rolname INTO stranger
    FROM pg_catalog.pg_namespace AS n JOIN pg_catalog.pg_roles AS r ON r.oid = n.nspowner
    WHERE n.nspname = 'pgml' AND r.rolname <> CURRENT_USER;
    IF FOUND THEN
        RAISE EXCEPTION 'schema pgml belongs to %, not to %', stranger, CURRENT_USER
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'drop or rename that schema, or give it to the role that creates the extension';
    END IF;
    SELECT coalesce(g.rolname, 'public') INTO stranger
    FROM pg_catalog.pg_namespace AS n
        CROSS JOIN LATERAL pg_catalog.aclexplode(n.nspacl) AS a
        LEFT JOIN pg_catalog.pg_roles AS g ON g.oid = a.grantee
    WHERE n.nspname = 'pgml' AND a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% may create objects in schema pgml', stranger
            USING ERRCODE = 'insufficient_privilege',
                  HINT = pg_catalog.format('REVOKE CREATE ON SCHEMA pgml FROM %I', stranger);
    END IF;
END
$$;

REVOKE ALL ON SCHEMA pgml FROM PUBLIC;
COMMENT ON SCHEMA pgml IS 'models next door: embeddings as foreign tables and functions (pgannex)';
