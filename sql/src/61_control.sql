-- Load, unload, pin and unpin a model. For pgml_admin: the gate asks for it, and the
-- server obeys only a grant that says so.
CREATE FOREIGN TABLE pgml.model_control (
    model text OPTIONS (input 'required', batch 'false'),
    action text OPTIONS (input 'required', batch 'false'),
    state text,
    detail text
) SERVER pgannex OPTIONS (verb 'control', model_column 'model', authorize 'pgml.authorize');
COMMENT ON FOREIGN TABLE pgml.model_control IS
    'does something to a model; read by pgml.load_model and its like';
COMMENT ON COLUMN pgml.model_control.model IS 'name or alias of the model (required)';
COMMENT ON COLUMN pgml.model_control.action IS 'load, unload, pin or unpin (required)';
COMMENT ON COLUMN pgml.model_control.state IS 'state of the model after the action';
COMMENT ON COLUMN pgml.model_control.detail IS 'what was done';
GRANT SELECT ON pgml.model_control TO pgml_admin;

CREATE FUNCTION pgml.load_model(model text) RETURNS TABLE (state text, detail text)
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE COST 1000000 ROWS 1
BEGIN ATOMIC
    SELECT c.state, c.detail FROM pgml.model_control AS c
    WHERE c.model = load_model.model AND c.action = 'load'::text;
END;
COMMENT ON FUNCTION pgml.load_model(text) IS
    'loads a model now rather than on first use; returns when it is ready';
GRANT EXECUTE ON FUNCTION pgml.load_model(text) TO pgml_admin;

CREATE FUNCTION pgml.unload_model(model text) RETURNS TABLE (state text, detail text)
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE COST 1000000 ROWS 1
BEGIN ATOMIC
    SELECT c.state, c.detail FROM pgml.model_control AS c
    WHERE c.model = unload_model.model AND c.action = 'unload'::text;
END;
COMMENT ON FUNCTION pgml.unload_model(text) IS
    'frees a model; the next use loads it again';
GRANT EXECUTE ON FUNCTION pgml.unload_model(text) TO pgml_admin;

CREATE FUNCTION pgml.pin_model(model text) RETURNS TABLE (state text, detail text)
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE COST 1000000 ROWS 1
BEGIN ATOMIC
    SELECT c.state, c.detail FROM pgml.model_control AS c
    WHERE c.model = pin_model.model AND c.action = 'pin'::text;
END;
COMMENT ON FUNCTION pgml.pin_model(text) IS
    'loads a model and keeps it: it is not evicted, and unload refuses it';
GRANT EXECUTE ON FUNCTION pgml.pin_model(text) TO pgml_admin;

CREATE FUNCTION pgml.unpin_model(model text) RETURNS TABLE (state text, detail text)
    LANGUAGE sql VOLATILE STRICT PARALLEL UNSAFE COST 1000000 ROWS 1
BEGIN ATOMIC
    SELECT c.state, c.detail FROM pgml.model_control AS c
    WHERE c.model = unpin_model.model AND c.action = 'unpin'::text;
END;
COMMENT ON FUNCTION pgml.unpin_model(text) IS
    'lets a model be unloaded and evicted again';
GRANT EXECUTE ON FUNCTION pgml.unpin_model(text) TO pgml_admin;
