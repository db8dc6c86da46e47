-- The native host: the wrapper's handler is C code of this extension.
--
-- USAGE on the wrapper and on the server is granted to nobody: whoever had it could make
-- foreign tables of their own, without the `authorize` gate.
CREATE FUNCTION pgml.annex_handler() RETURNS fdw_handler
    LANGUAGE c STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_fdw_handler';
COMMENT ON FUNCTION pgml.annex_handler() IS
    'handler of the foreign-data wrapper pgannex';

CREATE FUNCTION pgml.annex_validator(options text[], catalog oid) RETURNS void
    LANGUAGE c STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_fdw_validator';
COMMENT ON FUNCTION pgml.annex_validator(text[], oid) IS
    'checks the options of the foreign-data wrapper pgannex';

CREATE FOREIGN DATA WRAPPER pgannex
    HANDLER pgml.annex_handler VALIDATOR pgml.annex_validator;
COMMENT ON FOREIGN DATA WRAPPER pgannex IS
    'speaks with the pgannex server on this host, over a unix socket';

CREATE SERVER pgannex FOREIGN DATA WRAPPER pgannex;
COMMENT ON SERVER pgannex IS
    'the pgannex server on this host; its socket is the setting pgannex.socket';
