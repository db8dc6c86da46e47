-- pgml.predict for the other types of array, so that every call resolves.
--
-- An exact match of the type is what keeps numeric[], smallint[] and their like from fitting
-- several forms at once. Each is a cast that the planner puts in place of the call.

CREATE FUNCTION pgml.predict(project_name text, features double precision[]) RETURNS real
    LANGUAGE sql STABLE PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT pgml.predict(predict.project_name, predict.features::real[]);
END;
COMMENT ON FUNCTION pgml.predict(text, double precision[]) IS 'prediction for one row of features of type double precision[]';
GRANT EXECUTE ON FUNCTION pgml.predict(text, double precision[]) TO pgml_user;

CREATE FUNCTION pgml.predict(project_name text, features numeric[]) RETURNS real
    LANGUAGE sql STABLE PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT pgml.predict(predict.project_name, predict.features::real[]);
END;
COMMENT ON FUNCTION pgml.predict(text, numeric[]) IS 'prediction for one row of features of type numeric[]';
GRANT EXECUTE ON FUNCTION pgml.predict(text, numeric[]) TO pgml_user;

CREATE FUNCTION pgml.predict(project_name text, features smallint[]) RETURNS real
    LANGUAGE sql STABLE PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT pgml.predict(predict.project_name, predict.features::real[]);
END;
COMMENT ON FUNCTION pgml.predict(text, smallint[]) IS 'prediction for one row of features of type smallint[]';
GRANT EXECUTE ON FUNCTION pgml.predict(text, smallint[]) TO pgml_user;

CREATE FUNCTION pgml.predict(project_name text, features integer[]) RETURNS real
    LANGUAGE sql STABLE PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT pgml.predict(predict.project_name, predict.features::real[]);
END;
COMMENT ON FUNCTION pgml.predict(text, integer[]) IS 'prediction for one row of features of type integer[]';
GRANT EXECUTE ON FUNCTION pgml.predict(text, integer[]) TO pgml_user;

CREATE FUNCTION pgml.predict(project_name text, features bigint[]) RETURNS real
    LANGUAGE sql STABLE PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT pgml.predict(predict.project_name, predict.features::real[]);
END;
COMMENT ON FUNCTION pgml.predict(text, bigint[]) IS 'prediction for one row of features of type bigint[]';
GRANT EXECUTE ON FUNCTION pgml.predict(text, bigint[]) TO pgml_user;

CREATE FUNCTION pgml.predict(project_name text, features boolean[]) RETURNS real
    LANGUAGE sql STABLE PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT pgml.predict(predict.project_name, predict.features::integer[]::real[]);
END;
COMMENT ON FUNCTION pgml.predict(text, boolean[]) IS 'prediction for one row of features of type boolean[]';
GRANT EXECUTE ON FUNCTION pgml.predict(text, boolean[]) TO pgml_user;

CREATE FUNCTION pgml.predict(model_id bigint, features double precision[]) RETURNS real
    LANGUAGE sql STABLE PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT pgml.predict(predict.model_id, predict.features::real[]);
END;
COMMENT ON FUNCTION pgml.predict(bigint, double precision[]) IS 'prediction for one row of features of type double precision[]';
GRANT EXECUTE ON FUNCTION pgml.predict(bigint, double precision[]) TO pgml_user;

CREATE FUNCTION pgml.predict(model_id bigint, features numeric[]) RETURNS real
    LANGUAGE sql STABLE PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT pgml.predict(predict.model_id, predict.features::real[]);
END;
COMMENT ON FUNCTION pgml.predict(bigint, numeric[]) IS 'prediction for one row of features of type numeric[]';
GRANT EXECUTE ON FUNCTION pgml.predict(bigint, numeric[]) TO pgml_user;

CREATE FUNCTION pgml.predict(model_id bigint, features smallint[]) RETURNS real
    LANGUAGE sql STABLE PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT pgml.predict(predict.model_id, predict.features::real[]);
END;
COMMENT ON FUNCTION pgml.predict(bigint, smallint[]) IS 'prediction for one row of features of type smallint[]';
GRANT EXECUTE ON FUNCTION pgml.predict(bigint, smallint[]) TO pgml_user;

CREATE FUNCTION pgml.predict(model_id bigint, features integer[]) RETURNS real
    LANGUAGE sql STABLE PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT pgml.predict(predict.model_id, predict.features::real[]);
END;
COMMENT ON FUNCTION pgml.predict(bigint, integer[]) IS 'prediction for one row of features of type integer[]';
GRANT EXECUTE ON FUNCTION pgml.predict(bigint, integer[]) TO pgml_user;

CREATE FUNCTION pgml.predict(model_id bigint, features bigint[]) RETURNS real
    LANGUAGE sql STABLE PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT pgml.predict(predict.model_id, predict.features::real[]);
END;
COMMENT ON FUNCTION pgml.predict(bigint, bigint[]) IS 'prediction for one row of features of type bigint[]';
GRANT EXECUTE ON FUNCTION pgml.predict(bigint, bigint[]) TO pgml_user;

CREATE FUNCTION pgml.predict(model_id bigint, features boolean[]) RETURNS real
    LANGUAGE sql STABLE PARALLEL SAFE COST 10000
BEGIN ATOMIC
    SELECT pgml.predict(predict.model_id, predict.features::integer[]::real[]);
END;
COMMENT ON FUNCTION pgml.predict(bigint, boolean[]) IS 'prediction for one row of features of type boolean[]';
GRANT EXECUTE ON FUNCTION pgml.predict(bigint, boolean[]) TO pgml_user;
