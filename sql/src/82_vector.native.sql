-- Vector functions, as PostgresML has them: names and arguments are API.
--
-- Each for real[] and double precision[], in C (fdw/native/vector_*.c): computed in double
-- precision, rounded once to the type of the vector. Lengths that differ are 2202E, a NULL
-- element is 22004, and a division by zero is what IEEE 754 says. 82_vector_types.sql has
-- the forms for the other numbers, 82_vector.multicorn.sql the same without C.

-- element by element
CREATE FUNCTION pgml.add(vector real[], addend real) RETURNS real[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_add_scalar';
COMMENT ON FUNCTION pgml.add(real[], real) IS 'the sum of each element and addend';
CREATE FUNCTION pgml.add(vector double precision[], addend double precision) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_add_scalar';
COMMENT ON FUNCTION pgml.add(double precision[], double precision) IS 'the sum of each element and addend';
CREATE FUNCTION pgml.add(vector real[], addend real[]) RETURNS real[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_add_vector';
COMMENT ON FUNCTION pgml.add(real[], real[]) IS 'the sums of the elements in the same place';
CREATE FUNCTION pgml.add(vector double precision[], addend double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_add_vector';
COMMENT ON FUNCTION pgml.add(double precision[], double precision[]) IS 'the sums of the elements in the same place';
CREATE FUNCTION pgml.subtract(vector real[], subtahend real) RETURNS real[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_subtract_scalar';
COMMENT ON FUNCTION pgml.subtract(real[], real) IS 'each element less the second argument';
CREATE FUNCTION pgml.subtract(vector double precision[], subtahend double precision) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_subtract_scalar';
COMMENT ON FUNCTION pgml.subtract(double precision[], double precision) IS 'each element less the second argument';
CREATE FUNCTION pgml.subtract(vector real[], subtrahend real[]) RETURNS real[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_subtract_vector';
COMMENT ON FUNCTION pgml.subtract(real[], real[]) IS 'the differences of the elements in the same place';
CREATE FUNCTION pgml.subtract(vector double precision[], subtrahend double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_subtract_vector';
COMMENT ON FUNCTION pgml.subtract(double precision[], double precision[]) IS 'the differences of the elements in the same place';
CREATE FUNCTION pgml.multiply(vector real[], multiplicand real) RETURNS real[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_multiply_scalar';
COMMENT ON FUNCTION pgml.multiply(real[], real) IS 'each element times multiplicand';
CREATE FUNCTION pgml.multiply(vector double precision[], multiplicand double precision) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_multiply_scalar';
COMMENT ON FUNCTION pgml.multiply(double precision[], double precision) IS 'each element times multiplicand';
CREATE FUNCTION pgml.multiply(vector real[], multiplicand real[]) RETURNS real[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_multiply_vector';
COMMENT ON FUNCTION pgml.multiply(real[], real[]) IS 'the products of the elements in the same place';
CREATE FUNCTION pgml.multiply(vector double precision[], multiplicand double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_multiply_vector';
COMMENT ON FUNCTION pgml.multiply(double precision[], double precision[]) IS 'the products of the elements in the same place';
CREATE FUNCTION pgml.divide(vector real[], dividend real) RETURNS real[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_divide_scalar';
COMMENT ON FUNCTION pgml.divide(real[], real) IS 'each element divided by the second argument';
CREATE FUNCTION pgml.divide(vector double precision[], dividend double precision) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_divide_scalar';
COMMENT ON FUNCTION pgml.divide(double precision[], double precision) IS 'each element divided by the second argument';
CREATE FUNCTION pgml.divide(vector real[], dividend real[]) RETURNS real[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_divide_vector';
COMMENT ON FUNCTION pgml.divide(real[], real[]) IS 'the quotients of the elements in the same place';
CREATE FUNCTION pgml.divide(vector double precision[], dividend double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_divide_vector';
COMMENT ON FUNCTION pgml.divide(double precision[], double precision[]) IS 'the quotients of the elements in the same place';
GRANT EXECUTE ON FUNCTION
    pgml.add(real[], real),
    pgml.add(double precision[], double precision),
    pgml.add(real[], real[]),
    pgml.add(double precision[], double precision[]),
    pgml.subtract(real[], real),
    pgml.subtract(double precision[], double precision),
    pgml.subtract(real[], real[]),
    pgml.subtract(double precision[], double precision[]),
    pgml.multiply(real[], real),
    pgml.multiply(double precision[], double precision),
    pgml.multiply(real[], real[]),
    pgml.multiply(double precision[], double precision[]),
    pgml.divide(real[], real),
    pgml.divide(double precision[], double precision),
    pgml.divide(real[], real[]),
    pgml.divide(double precision[], double precision[])
    TO pgml_user;

-- norms
CREATE FUNCTION pgml.norm_l0(vector real[]) RETURNS real
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_norm_l0';
COMMENT ON FUNCTION pgml.norm_l0(real[]) IS 'how many elements are not zero';
CREATE FUNCTION pgml.norm_l0(vector double precision[]) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_norm_l0';
COMMENT ON FUNCTION pgml.norm_l0(double precision[]) IS 'how many elements are not zero';
CREATE FUNCTION pgml.norm_l1(vector real[]) RETURNS real
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_norm_l1';
COMMENT ON FUNCTION pgml.norm_l1(real[]) IS 'the sum of the absolute values';
CREATE FUNCTION pgml.norm_l1(vector double precision[]) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_norm_l1';
COMMENT ON FUNCTION pgml.norm_l1(double precision[]) IS 'the sum of the absolute values';
CREATE FUNCTION pgml.norm_l2(vector real[]) RETURNS real
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_norm_l2';
COMMENT ON FUNCTION pgml.norm_l2(real[]) IS 'the Euclidean length';
CREATE FUNCTION pgml.norm_l2(vector double precision[]) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_norm_l2';
COMMENT ON FUNCTION pgml.norm_l2(double precision[]) IS 'the Euclidean length';
CREATE FUNCTION pgml.norm_max(vector real[]) RETURNS real
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_norm_max';
COMMENT ON FUNCTION pgml.norm_max(real[]) IS 'the largest absolute value; 0 of an empty vector';
CREATE FUNCTION pgml.norm_max(vector double precision[]) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_norm_max';
COMMENT ON FUNCTION pgml.norm_max(double precision[]) IS 'the largest absolute value; 0 of an empty vector';
CREATE FUNCTION pgml.normalize_l1(vector real[]) RETURNS real[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_normalize_l1';
COMMENT ON FUNCTION pgml.normalize_l1(real[]) IS 'the vector divided by its norm_l1; NaN where that is 0';
CREATE FUNCTION pgml.normalize_l1(vector double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_normalize_l1';
COMMENT ON FUNCTION pgml.normalize_l1(double precision[]) IS 'the vector divided by its norm_l1; NaN where that is 0';
CREATE FUNCTION pgml.normalize_l2(vector real[]) RETURNS real[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_normalize_l2';
COMMENT ON FUNCTION pgml.normalize_l2(real[]) IS 'the vector divided by its norm_l2; NaN where that is 0';
CREATE FUNCTION pgml.normalize_l2(vector double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_normalize_l2';
COMMENT ON FUNCTION pgml.normalize_l2(double precision[]) IS 'the vector divided by its norm_l2; NaN where that is 0';
CREATE FUNCTION pgml.normalize_max(vector real[]) RETURNS real[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_normalize_max';
COMMENT ON FUNCTION pgml.normalize_max(real[]) IS 'the vector divided by its norm_max; NaN where that is 0';
CREATE FUNCTION pgml.normalize_max(vector double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_normalize_max';
COMMENT ON FUNCTION pgml.normalize_max(double precision[]) IS 'the vector divided by its norm_max; NaN where that is 0';
GRANT EXECUTE ON FUNCTION
    pgml.norm_l0(real[]),
    pgml.norm_l0(double precision[]),
    pgml.norm_l1(real[]),
    pgml.norm_l1(double precision[]),
    pgml.norm_l2(real[]),
    pgml.norm_l2(double precision[]),
    pgml.norm_max(real[]),
    pgml.norm_max(double precision[]),
    pgml.normalize_l1(real[]),
    pgml.normalize_l1(double precision[]),
    pgml.normalize_l2(real[]),
    pgml.normalize_l2(double precision[]),
    pgml.normalize_max(real[]),
    pgml.normalize_max(double precision[])
    TO pgml_user;

-- two vectors, one number
CREATE FUNCTION pgml.distance_l1(vector real[], other real[]) RETURNS real
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_distance_l1';
COMMENT ON FUNCTION pgml.distance_l1(real[], real[]) IS 'the sum of the absolute differences';
CREATE FUNCTION pgml.distance_l1(vector double precision[], other double precision[]) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_distance_l1';
COMMENT ON FUNCTION pgml.distance_l1(double precision[], double precision[]) IS 'the sum of the absolute differences';
CREATE FUNCTION pgml.distance_l2(vector real[], other real[]) RETURNS real
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_distance_l2';
COMMENT ON FUNCTION pgml.distance_l2(real[], real[]) IS 'the Euclidean distance';
CREATE FUNCTION pgml.distance_l2(vector double precision[], other double precision[]) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_distance_l2';
COMMENT ON FUNCTION pgml.distance_l2(double precision[], double precision[]) IS 'the Euclidean distance';
CREATE FUNCTION pgml.dot_product(vector real[], other real[]) RETURNS real
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_dot_product';
COMMENT ON FUNCTION pgml.dot_product(real[], real[]) IS 'the inner product';
CREATE FUNCTION pgml.dot_product(vector double precision[], other double precision[]) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_dot_product';
COMMENT ON FUNCTION pgml.dot_product(double precision[], double precision[]) IS 'the inner product';
CREATE FUNCTION pgml.cosine_similarity(vector real[], other real[]) RETURNS real
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_cosine_similarity';
COMMENT ON FUNCTION pgml.cosine_similarity(real[], real[]) IS 'the cosine of the angle between them; NaN where one is zero';
CREATE FUNCTION pgml.cosine_similarity(vector double precision[], other double precision[]) RETURNS double precision
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_cosine_similarity';
COMMENT ON FUNCTION pgml.cosine_similarity(double precision[], double precision[]) IS 'the cosine of the angle between them; NaN where one is zero';
GRANT EXECUTE ON FUNCTION
    pgml.distance_l1(real[], real[]),
    pgml.distance_l1(double precision[], double precision[]),
    pgml.distance_l2(real[], real[]),
    pgml.distance_l2(double precision[], double precision[]),
    pgml.dot_product(real[], real[]),
    pgml.dot_product(double precision[], double precision[]),
    pgml.cosine_similarity(real[], real[]),
    pgml.cosine_similarity(double precision[], double precision[])
    TO pgml_user;

-- Aggregates: NULL rows are skipped, and no rows at all give the empty array. The state is a
-- double precision[], so that a step also combines the states of parallel workers.
CREATE FUNCTION pgml.vector_sum(state double precision[], vector real[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_vector_sum';
COMMENT ON FUNCTION pgml.vector_sum(double precision[], real[]) IS 'one more row of the aggregate pgml.sum';
CREATE FUNCTION pgml.vector_sum(state double precision[], vector double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_vector_sum';
COMMENT ON FUNCTION pgml.vector_sum(double precision[], double precision[]) IS 'one more row of the aggregate pgml.sum';
CREATE FUNCTION pgml.vector_min(state double precision[], vector real[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_vector_min';
COMMENT ON FUNCTION pgml.vector_min(double precision[], real[]) IS 'one more row of the aggregate pgml.min';
CREATE FUNCTION pgml.vector_min(state double precision[], vector double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_vector_min';
COMMENT ON FUNCTION pgml.vector_min(double precision[], double precision[]) IS 'one more row of the aggregate pgml.min';
CREATE FUNCTION pgml.vector_max(state double precision[], vector real[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_vector_max';
COMMENT ON FUNCTION pgml.vector_max(double precision[], real[]) IS 'one more row of the aggregate pgml.max';
CREATE FUNCTION pgml.vector_max(state double precision[], vector double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_vector_max';
COMMENT ON FUNCTION pgml.vector_max(double precision[], double precision[]) IS 'one more row of the aggregate pgml.max';
CREATE FUNCTION pgml.vector_min_abs(state double precision[], vector real[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_vector_min_abs';
COMMENT ON FUNCTION pgml.vector_min_abs(double precision[], real[]) IS 'one more row of the aggregate pgml.min_abs';
CREATE FUNCTION pgml.vector_min_abs(state double precision[], vector double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_vector_min_abs';
COMMENT ON FUNCTION pgml.vector_min_abs(double precision[], double precision[]) IS 'one more row of the aggregate pgml.min_abs';
CREATE FUNCTION pgml.vector_max_abs(state double precision[], vector real[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_vector_max_abs';
COMMENT ON FUNCTION pgml.vector_max_abs(double precision[], real[]) IS 'one more row of the aggregate pgml.max_abs';
CREATE FUNCTION pgml.vector_max_abs(state double precision[], vector double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_vector_max_abs';
COMMENT ON FUNCTION pgml.vector_max_abs(double precision[], double precision[]) IS 'one more row of the aggregate pgml.max_abs';
CREATE FUNCTION pgml.vector_as_real(state double precision[]) RETURNS real[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_vector_as_real';
COMMENT ON FUNCTION pgml.vector_as_real(double precision[]) IS 'the result of the aggregates over real[]';
CREATE FUNCTION pgml.vector_as_double(state double precision[]) RETURNS double precision[]
    LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'pgml_vector_as_double';
COMMENT ON FUNCTION pgml.vector_as_double(double precision[]) IS 'the result of the aggregates over double precision[]';
CREATE AGGREGATE pgml.sum(real[]) (
    SFUNC = pgml.vector_sum, STYPE = double precision[], FINALFUNC = pgml.vector_as_real,
    COMBINEFUNC = pgml.vector_sum, PARALLEL = SAFE
);
COMMENT ON AGGREGATE pgml.sum(real[]) IS 'the sum, element by element over the rows; {} where there are none';
CREATE AGGREGATE pgml.sum(double precision[]) (
    SFUNC = pgml.vector_sum, STYPE = double precision[], FINALFUNC = pgml.vector_as_double,
    COMBINEFUNC = pgml.vector_sum, PARALLEL = SAFE
);
COMMENT ON AGGREGATE pgml.sum(double precision[]) IS 'the sum, element by element over the rows; {} where there are none';
CREATE AGGREGATE pgml.min(real[]) (
    SFUNC = pgml.vector_min, STYPE = double precision[], FINALFUNC = pgml.vector_as_real,
    COMBINEFUNC = pgml.vector_min, PARALLEL = SAFE
);
COMMENT ON AGGREGATE pgml.min(real[]) IS 'the smallest, element by element over the rows; {} where there are none';
CREATE AGGREGATE pgml.min(double precision[]) (
    SFUNC = pgml.vector_min, STYPE = double precision[], FINALFUNC = pgml.vector_as_double,
    COMBINEFUNC = pgml.vector_min, PARALLEL = SAFE
);
COMMENT ON AGGREGATE pgml.min(double precision[]) IS 'the smallest, element by element over the rows; {} where there are none';
CREATE AGGREGATE pgml.max(real[]) (
    SFUNC = pgml.vector_max, STYPE = double precision[], FINALFUNC = pgml.vector_as_real,
    COMBINEFUNC = pgml.vector_max, PARALLEL = SAFE
);
COMMENT ON AGGREGATE pgml.max(real[]) IS 'the largest, element by element over the rows; {} where there are none';
CREATE AGGREGATE pgml.max(double precision[]) (
    SFUNC = pgml.vector_max, STYPE = double precision[], FINALFUNC = pgml.vector_as_double,
    COMBINEFUNC = pgml.vector_max, PARALLEL = SAFE
);
COMMENT ON AGGREGATE pgml.max(double precision[]) IS 'the largest, element by element over the rows; {} where there are none';
CREATE AGGREGATE pgml.min_abs(real[]) (
    SFUNC = pgml.vector_min_abs, STYPE = double precision[], FINALFUNC = pgml.vector_as_real,
    COMBINEFUNC = pgml.vector_min_abs, PARALLEL = SAFE
);
COMMENT ON AGGREGATE pgml.min_abs(real[]) IS 'the smallest absolute value, element by element over the rows; {} where there are none';
CREATE AGGREGATE pgml.min_abs(double precision[]) (
    SFUNC = pgml.vector_min_abs, STYPE = double precision[], FINALFUNC = pgml.vector_as_double,
    COMBINEFUNC = pgml.vector_min_abs, PARALLEL = SAFE
);
COMMENT ON AGGREGATE pgml.min_abs(double precision[]) IS 'the smallest absolute value, element by element over the rows; {} where there are none';
CREATE AGGREGATE pgml.max_abs(real[]) (
    SFUNC = pgml.vector_max_abs, STYPE = double precision[], FINALFUNC = pgml.vector_as_real,
    COMBINEFUNC = pgml.vector_max_abs, PARALLEL = SAFE
);
COMMENT ON AGGREGATE pgml.max_abs(real[]) IS 'the largest absolute value, element by element over the rows; {} where there are none';
CREATE AGGREGATE pgml.max_abs(double precision[]) (
    SFUNC = pgml.vector_max_abs, STYPE = double precision[], FINALFUNC = pgml.vector_as_double,
    COMBINEFUNC = pgml.vector_max_abs, PARALLEL = SAFE
);
COMMENT ON AGGREGATE pgml.max_abs(double precision[]) IS 'the largest absolute value, element by element over the rows; {} where there are none';
GRANT EXECUTE ON FUNCTION
    pgml.vector_sum(double precision[], real[]),
    pgml.vector_sum(double precision[], double precision[]),
    pgml.vector_min(double precision[], real[]),
    pgml.vector_min(double precision[], double precision[]),
    pgml.vector_max(double precision[], real[]),
    pgml.vector_max(double precision[], double precision[]),
    pgml.vector_min_abs(double precision[], real[]),
    pgml.vector_min_abs(double precision[], double precision[]),
    pgml.vector_max_abs(double precision[], real[]),
    pgml.vector_max_abs(double precision[], double precision[]),
    pgml.vector_as_real(double precision[]),
    pgml.vector_as_double(double precision[]),
    pgml.sum(real[]),
    pgml.sum(double precision[]),
    pgml.min(real[]),
    pgml.min(double precision[]),
    pgml.max(real[]),
    pgml.max(double precision[]),
    pgml.min_abs(real[]),
    pgml.min_abs(double precision[]),
    pgml.max_abs(real[]),
    pgml.max_abs(double precision[])
    TO pgml_user;
