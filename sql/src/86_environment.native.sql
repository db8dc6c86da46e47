-- What PostgresML's users ask of the Python behind their models; here it is the server's.
--
-- What had a meaning only while Python ran inside the backend is still there, does nothing, and
-- says in a NOTICE where that lies now.
CREATE FUNCTION pgml.python_version() RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT e.answer FROM pgml.environment AS e WHERE e.question = 'python_version'::text;
END;
COMMENT ON FUNCTION pgml.python_version() IS 'version of the Python that trains and predicts';
GRANT EXECUTE ON FUNCTION pgml.python_version() TO pgml_user;

CREATE FUNCTION pgml.python_package_version(name text) RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT e.answer FROM pgml.environment AS e
    WHERE e.question = 'package_version'::text AND e.argument = python_package_version.name;
END;
COMMENT ON FUNCTION pgml.python_package_version(text) IS 'version of a package of the server''s Python';
GRANT EXECUTE ON FUNCTION pgml.python_package_version(text) TO pgml_user;

CREATE FUNCTION pgml.python_pip_freeze() RETURNS TABLE (package text)
    LANGUAGE sql STABLE STRICT PARALLEL SAFE COST 10000 ROWS 100
BEGIN ATOMIC
    SELECT e.answer FROM pgml.environment AS e WHERE e.question = 'pip_freeze'::text;
END;
COMMENT ON FUNCTION pgml.python_pip_freeze() IS 'the packages of the server''s Python with their versions, one per row';
GRANT EXECUTE ON FUNCTION pgml.python_pip_freeze() TO pgml_user;

CREATE FUNCTION pgml.xgboost_version() RETURNS text
    LANGUAGE sql STABLE STRICT PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT e.answer FROM pgml.environment AS e WHERE e.question = 'xgboost_version'::text;
END;
COMMENT ON FUNCTION pgml.xgboost_version() IS 'version of the server''s xgboost';
GRANT EXECUTE ON FUNCTION pgml.xgboost_version() TO pgml_user;

CREATE FUNCTION pgml.validate_python_dependencies() RETURNS boolean
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
DECLARE
    line pg_catalog.text;
BEGIN
    FOR line IN SELECT e.answer FROM pgml.environment AS e
        WHERE e.question OPERATOR(pg_catalog.=) 'dependencies'::pg_catalog.text
    LOOP
        RAISE INFO '%', line;
    END LOOP;
    RETURN true;
END
$$;
COMMENT ON FUNCTION pgml.validate_python_dependencies() IS
    'tells the versions of the packages that training needs; raises where one is missing';
GRANT EXECUTE ON FUNCTION pgml.validate_python_dependencies() TO pgml_user;

CREATE FUNCTION pgml.validate_shared_library() RETURNS void
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
AS $$
BEGIN
    IF pgml.host_version() OPERATOR(pg_catalog.<>) pgml.version() THEN
        RAISE EXCEPTION 'the C library that is loaded is of version %, the extension of version %',
                pgml.host_version(), pgml.version()
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'ALTER EXTENSION pgml UPDATE, or a new connection, which loads the library anew';
    END IF;
END
$$;
COMMENT ON FUNCTION pgml.validate_shared_library() IS
    'raises where the loaded C library and the extension are of different versions; nothing has to be preloaded';
GRANT EXECUTE ON FUNCTION pgml.validate_shared_library() TO pgml_user;

CREATE FUNCTION pgml.activate_venv(venv text) RETURNS boolean
    LANGUAGE plpgsql VOLATILE STRICT PARALLEL SAFE
AS $$
BEGIN
    RAISE NOTICE 'pgml.activate_venv does nothing: no Python runs in this backend'
        USING HINT = 'the server runs in a virtual environment of its own: the settings are in pgannex.toml';
    RETURN false;
END
$$;
COMMENT ON FUNCTION pgml.activate_venv(text) IS 'for scripts written for PostgresML: does nothing, says so, returns false';
GRANT EXECUTE ON FUNCTION pgml.activate_venv(text) TO pgml_user;

CREATE FUNCTION pgml.clear_gpu_cache(memory_usage real DEFAULT NULL) RETURNS boolean
    LANGUAGE plpgsql VOLATILE PARALLEL SAFE
AS $$
BEGIN
    RAISE NOTICE 'pgml.clear_gpu_cache does nothing: this backend holds no memory of a GPU'
        USING HINT = 'the models are the server''s: SELECT model, device, memory_bytes FROM pgml.stat_models, and pgml.unload_model frees one';
    RETURN false;
END
$$;
COMMENT ON FUNCTION pgml.clear_gpu_cache(real) IS 'for scripts written for PostgresML: does nothing, says so, returns false';
GRANT EXECUTE ON FUNCTION pgml.clear_gpu_cache(real) TO pgml_user;
