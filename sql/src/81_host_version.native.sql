-- The version of the C library that the backend has loaded.
CREATE FUNCTION pgml.host_version() RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_host_version';
COMMENT ON FUNCTION pgml.host_version() IS
    'version of the C library that is loaded; differs from pgml.version() until an upgrade is complete';
GRANT EXECUTE ON FUNCTION pgml.host_version() TO pgml_user, pg_monitor;
