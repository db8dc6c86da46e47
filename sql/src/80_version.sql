-- The extension's version. The server's own is in pgml.stat_server.
CREATE FUNCTION pgml.version() RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
    SELECT '@VERSION@'::text;
END;
COMMENT ON FUNCTION pgml.version() IS 'version of the extension pgml';
GRANT EXECUTE ON FUNCTION pgml.version() TO pgml_user, pg_monitor;
