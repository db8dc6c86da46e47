-- The Multicorn2 host: the wrapper's code is the Python package pgannex_fdw.
--
-- The handler is Multicorn2's own; the wrapper is ours, so that no right on the wrapper
-- `multicorn` reaches our tables. USAGE is granted to nobody.
CREATE FOREIGN DATA WRAPPER pgannex
    HANDLER multicorn_handler VALIDATOR multicorn_validator;
COMMENT ON FOREIGN DATA WRAPPER pgannex IS
    'speaks with the pgannex server on this host, over a unix socket, through Multicorn2';

CREATE SERVER pgannex FOREIGN DATA WRAPPER pgannex
    OPTIONS (wrapper 'pgannex_fdw.wrapper.PgannexForeignDataWrapper');
COMMENT ON SERVER pgannex IS
    'the pgannex server on this host, reached by the Python package pgannex_fdw';
