-- Whether a statement's work waits for a COMMIT: for the notice of pgml.train.
CREATE FUNCTION pgml.in_transaction_block() RETURNS boolean
    LANGUAGE c STABLE STRICT PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'pgml_in_transaction_block';
COMMENT ON FUNCTION pgml.in_transaction_block() IS
    'whether the current statement is part of a transaction block, whose COMMIT is still to come';
GRANT EXECUTE ON FUNCTION pgml.in_transaction_block() TO pgml_user;
