/*
 * vector_math.c: element-wise arithmetic, norms, normalization, distances.
 *
 * The names are PostgresML's. Floating point as the processor does it: a division by zero
 * gives an infinity or NaN, as there, and no error.
 */
#include "vector.h"

#include <math.h>

#include "utils/float.h"

/* -- element by element -------------------------------------------------------------- */

typedef float8 (*Combine) (float8, float8);

static float8
plus(float8 a, float8 b)
{
	return a + b;
}

static float8
minus(float8 a, float8 b)
{
	return a - b;
}

static float8
times(float8 a, float8 b)
{
	return a * b;
}

static float8
over(float8 a, float8 b)
{
	return a / b;
}

static Datum
with_scalar(FunctionCallInfo fcinfo, Combine combine)
{
	Vector		vector = vector_of(PG_GETARG_DATUM(0));
	float8		scalar = vector_scalar(vector.element, PG_GETARG_DATUM(1));
	float8	   *result = palloc(sizeof(float8) * Max(vector.length, 1));
	int			i;

	for (i = 0; i < vector.length; i++)
		result[i] = combine(vector.values[i], scalar);
	return vector_datum(vector.element, result, vector.length);
}

static Datum
with_vector(FunctionCallInfo fcinfo, Combine combine)
{
	Vector		vector = vector_of(PG_GETARG_DATUM(0));
	Vector		other = vector_of(PG_GETARG_DATUM(1));
	float8	   *result = palloc(sizeof(float8) * Max(vector.length, 1));
	int			i;

	vector_same_length(vector.length, other.length);
	for (i = 0; i < vector.length; i++)
		result[i] = combine(vector.values[i], other.values[i]);
	return vector_datum(vector.element, result, vector.length);
}

#define ARITHMETIC(name, combine) \
	PG_FUNCTION_INFO_V1(pgml_##name##_scalar); \
	Datum \
	pgml_##name##_scalar(PG_FUNCTION_ARGS) \
	{ \
		return with_scalar(fcinfo, combine); \
	} \
	PG_FUNCTION_INFO_V1(pgml_##name##_vector); \
	Datum \
	pgml_##name##_vector(PG_FUNCTION_ARGS) \
	{ \
		return with_vector(fcinfo, combine); \
	}

ARITHMETIC(add, plus)
ARITHMETIC(subtract, minus)
ARITHMETIC(multiply, times)
ARITHMETIC(divide, over)

/* -- norms --------------------------------------------------------------------------- */

typedef float8 (*Norm) (const float8 *, int);

/* How many are not zero. */
static float8
norm_l0(const float8 *values, int length)
{
	float8		count = 0;
	int			i;

	for (i = 0; i < length; i++)
		count += values[i] != 0;
	return count;
}

static float8
norm_l1(const float8 *values, int length)
{
	float8		sum = 0;
	int			i;

	for (i = 0; i < length; i++)
		sum += fabs(values[i]);
	return sum;
}

static float8
norm_l2(const float8 *values, int length)
{
	float8		sum = 0;
	int			i;

	for (i = 0; i < length; i++)
		sum += values[i] * values[i];
	return sqrt(sum);
}

/* NaN counts as the largest, as in Postgres's own max(). */
static float8
norm_max(const float8 *values, int length)
{
	float8		most = 0;
	int			i;

	for (i = 0; i < length; i++)
	{
		if (float8_gt(fabs(values[i]), most))
			most = fabs(values[i]);
	}
	return most;
}

static Datum
norm_of(FunctionCallInfo fcinfo, Norm norm)
{
	Vector		vector = vector_of(PG_GETARG_DATUM(0));

	return vector_number(vector.element, norm(vector.values, vector.length));
}

/* The vector over its norm; NaN in each place where that is zero. */
static Datum
normalized(FunctionCallInfo fcinfo, Norm norm)
{
	Vector		vector = vector_of(PG_GETARG_DATUM(0));
	float8		length = norm(vector.values, vector.length);
	float8	   *result = palloc(sizeof(float8) * Max(vector.length, 1));
	int			i;

	for (i = 0; i < vector.length; i++)
		result[i] = vector.values[i] / length;
	return vector_datum(vector.element, result, vector.length);
}

#define OF_ONE(name, by, norm) \
	PG_FUNCTION_INFO_V1(pgml_##name); \
	Datum \
	pgml_##name(PG_FUNCTION_ARGS) \
	{ \
		return by(fcinfo, norm); \
	}

OF_ONE(norm_l0, norm_of, norm_l0)
OF_ONE(norm_l1, norm_of, norm_l1)
OF_ONE(norm_l2, norm_of, norm_l2)
OF_ONE(norm_max, norm_of, norm_max)
OF_ONE(normalize_l1, normalized, norm_l1)
OF_ONE(normalize_l2, normalized, norm_l2)
OF_ONE(normalize_max, normalized, norm_max)

/* -- two vectors, one number ----------------------------------------------------------- */

typedef float8 (*Measure) (const float8 *, const float8 *, int);

static float8
distance_l1(const float8 *a, const float8 *b, int length)
{
	float8		sum = 0;
	int			i;

	for (i = 0; i < length; i++)
		sum += fabs(a[i] - b[i]);
	return sum;
}

static float8
distance_l2(const float8 *a, const float8 *b, int length)
{
	float8		sum = 0;
	int			i;

	for (i = 0; i < length; i++)
		sum += (a[i] - b[i]) * (a[i] - b[i]);
	return sqrt(sum);
}

static float8
dot_product(const float8 *a, const float8 *b, int length)
{
	float8		sum = 0;
	int			i;

	for (i = 0; i < length; i++)
		sum += a[i] * b[i];
	return sum;
}

/* NaN where one of them is zero. */
static float8
cosine_similarity(const float8 *a, const float8 *b, int length)
{
	return dot_product(a, b, length) / (norm_l2(a, length) * norm_l2(b, length));
}

static Datum
measured(FunctionCallInfo fcinfo, Measure measure)
{
	Vector		vector = vector_of(PG_GETARG_DATUM(0));
	Vector		other = vector_of(PG_GETARG_DATUM(1));

	vector_same_length(vector.length, other.length);
	return vector_number(vector.element, measure(vector.values, other.values, vector.length));
}

#define OF_TWO(name) \
	PG_FUNCTION_INFO_V1(pgml_##name); \
	Datum \
	pgml_##name(PG_FUNCTION_ARGS) \
	{ \
		return measured(fcinfo, name); \
	}

OF_TWO(distance_l1)
OF_TWO(distance_l2)
OF_TWO(dot_product)
OF_TWO(cosine_similarity)
