/*
 * vector_array.c: arrays of Postgres to vectors and back.
 *
 * What is no vector is refused here: a NULL among the elements, two lengths that differ.
 * Upstream PostgresML cut the longer one silently, which hides a mistake in the query.
 */
#include "vector.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

static void
refuse_null(ArrayType *array)
{
	int			length = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	bits8	   *bitmap = ARR_NULLBITMAP(array);
	int			i;

	/* An array may have a bitmap that marks none. */
	for (i = 0; bitmap != NULL && i < length; i++)
	{
		if (!(bitmap[i / 8] & (1 << (i % 8))))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("element %d of the vector is NULL", i + 1),
					 errhint("leave NULLs out with array_remove(vector, NULL), or replace them")));
	}
}

static const float8 *
widened(const float4 *narrow, int length)
{
	float8	   *wide = palloc(sizeof(float8) * Max(length, 1));
	int			i;

	for (i = 0; i < length; i++)
		wide[i] = narrow[i];
	return wide;
}

/* The elements of an argument. They may lie in the argument itself: read them only. */
Vector
vector_of(Datum datum)
{
	ArrayType  *array = DatumGetArrayTypeP(datum);
	Vector		vector;

	refuse_null(array);
	vector.element = ARR_ELEMTYPE(array);
	vector.length = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	if (vector.element == FLOAT4OID)
		vector.values = widened((const float4 *) ARR_DATA_PTR(array), vector.length);
	else if (vector.element == FLOAT8OID)
		vector.values = (const float8 *) ARR_DATA_PTR(array);
	else
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a vector is a real[] or double precision[], not an array of %s",
						format_type_be(vector.element))));
	return vector;
}

/* A one-dimensional array of `element`. */
Datum
vector_datum(Oid element, const float8 *values, int length)
{
	size_t		width = element == FLOAT4OID ? sizeof(float4) : sizeof(float8);
	size_t		size = ARR_OVERHEAD_NONULLS(1) + width * length;
	ArrayType  *array;
	int			i;

	if (length == 0)
		return PointerGetDatum(construct_empty_array(element));
	array = palloc0(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->elemtype = element;
	ARR_DIMS(array)[0] = length;
	ARR_LBOUND(array)[0] = 1;
	if (element == FLOAT8OID)
		memcpy(ARR_DATA_PTR(array), values, width * length);
	else
	{
		for (i = 0; i < length; i++)
			((float4 *) ARR_DATA_PTR(array))[i] = (float4) values[i];
	}
	return PointerGetDatum(array);
}

/* A result of the same type as the elements. */
Datum
vector_number(Oid element, float8 value)
{
	return element == FLOAT4OID ? Float4GetDatum((float4) value) : Float8GetDatum(value);
}

/* An argument of the same type as the elements. */
float8
vector_scalar(Oid element, Datum number)
{
	return element == FLOAT4OID ? DatumGetFloat4(number) : DatumGetFloat8(number);
}

void
vector_same_length(int one, int other)
{
	if (one != other)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("vectors of %d and of %d elements do not go together", one, other),
				 errhint("both must have the same number of elements")));
}
