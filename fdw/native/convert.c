/*
 * convert.c: values of Postgres to the wire's and back.
 *
 * Any type travels by its own send and receive functions, so a new type needs no code here.
 * What is frequent has a short cut: text is its bytes, fixed-width types and float arrays
 * are copied. Text on the wire is UTF-8; send and receive functions convert to the
 * *client's* encoding, so where that is another one it is switched for as long as they run.
 */
#include "annex.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static AnnexCodecKind
kind_of(Oid type)
{
	switch (type)
	{
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
		case JSONOID:
			return CODEC_TEXT;
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			return CODEC_FIXED;
		case FLOAT4ARRAYOID:
			return CODEC_FLOAT4S;
		case FLOAT8ARRAYOID:
			return CODEC_FLOAT8S;
		default:
			return CODEC_SEND;
	}
}

/*
 * The type under which a column travels whose type the server was not told of: a domain as
 * what it is over, and as text what only this database's catalogs can read: an enum, and a
 * string type of an extension.
 */
Oid
annex_wire_type(Oid type, Oid *base)
{
	char		category;
	bool		preferred;

	*base = getBaseType(type);
	if (kind_of(*base) != CODEC_SEND)
		return *base;
	get_type_category_preferred(*base, &category, &preferred);
	return category == TYPCATEGORY_ENUM || category == TYPCATEGORY_STRING ||
		category == TYPCATEGORY_UNKNOWN ? TEXTOID : *base;
}

/* Does pg_type give the type a function of this kind? */
static bool
has_function(Oid type, bool send)
{
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
	Form_pg_type form;
	bool		found;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	form = (Form_pg_type) GETSTRUCT(tuple);
	found = OidIsValid(send ? form->typsend : form->typreceive);
	ReleaseSysCache(tuple);
	return found;
}

bool
annex_can_send(Oid type)
{
	return kind_of(type) != CODEC_SEND || has_function(type, true);
}

bool
annex_can_receive(Oid type)
{
	return kind_of(type) != CODEC_SEND || has_function(type, false);
}

/* Set up a codec. Functions are looked up when a value first needs them. */
void
annex_codec(AnnexCodec *codec, Oid type, int32 typmod)
{
	memset(codec, 0, sizeof(*codec));
	codec->mcxt = CurrentMemoryContext;
	codec->type = type;
	codec->typmod = typmod;
	codec->kind = kind_of(type);
	codec->as_text = !annex_can_send(type);
	get_typlenbyvalalign(type, &codec->typlen, &codec->typbyval, &codec->typalign);
}

/*
 * Let send and receive functions speak UTF-8. Returns what annex_utf8_end needs, -1 for
 * nothing to do, which is the usual case.
 */
int
annex_utf8_begin(void)
{
	int			saved = pg_get_client_encoding();

	if (saved == PG_UTF8)
		return -1;
	if (PrepareClientEncoding(PG_UTF8) < 0 || SetClientEncoding(PG_UTF8) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("text of encoding %s cannot be converted to UTF8", GetDatabaseEncodingName())));
	return saved;
}

void
annex_utf8_end(int saved)
{
	if (saved >= 0)
		SetClientEncoding(saved);
}

/* The text in UTF-8; the same pointer where nothing had to be converted. */
const char *
annex_to_utf8(const char *text)
{
	return pg_server_to_any(text, strlen(text), PG_UTF8);
}

static void
put_text(FrameBuffer *buffer, const char *text, size_t len)
{
	char	   *utf8;

	/* Refused before it is copied: it fits no frame. */
	if (len > FRAME_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a text of %zu bytes is more than the pgannex server takes at once", len),
				 errdetail("code: too_large\nThe limit is %u bytes.", FRAME_MAX),
				 errhint("shorten the text, or split it into chunks")));
	utf8 = pg_server_to_any(text, len, PG_UTF8);
	frame_put_text(buffer, utf8, utf8 == text ? len : strlen(utf8));
}

static void
put_by_function(FrameBuffer *buffer, AnnexCodec *codec, Datum value)
{
	bytea	   *bytes;

	if (!OidIsValid(codec->encode.fn_oid))
	{
		Oid			function;
		bool		varlena;

		if (codec->as_text)
			getTypeOutputInfo(codec->type, &function, &varlena);
		else
			getTypeBinaryOutputInfo(codec->type, &function, &varlena);
		fmgr_info_cxt(function, &codec->encode, codec->mcxt);
	}
	if (codec->as_text)
	{
		char	   *text = OutputFunctionCall(&codec->encode, value);

		put_text(buffer, text, strlen(text));
		return;
	}
	bytes = SendFunctionCall(&codec->encode, value);
	frame_put_text(buffer, VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ);
}

/* Append a `value` (length and bytes), in the type's send form or, as_text, its text form. */
void
annex_put_value(FrameBuffer *buffer, AnnexCodec *codec, Datum value)
{
	if (codec->kind == CODEC_TEXT)
	{
		text	   *packed = DatumGetTextPP(value);

		put_text(buffer, VARDATA_ANY(packed), VARSIZE_ANY_EXHDR(packed));
		return;
	}
	put_by_function(buffer, codec, value);
}

static void
wrong_encoding(const char *name, AnnexCodec *codec)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROTOCOL_VIOLATION),
			 errmsg("the pgannex server sent column \"%s\" in a form that does not suit type %s",
					name, format_type_be(codec->type)),
			 errdetail("code: protocol_violation")));
}

/* The little-endian bytes of a fixed-width value as a Datum. */
static Datum
fixed_datum(AnnexCodec *codec, FrameCell *cell, const char *name)
{
	uint8		bytes[8];
	int			i;

	if (codec->kind != CODEC_FIXED || codec->typlen != (int) cell->len)
		wrong_encoding(name, codec);
	for (i = 0; i < (int) cell->len; i++)
	{
#ifdef WORDS_BIGENDIAN
		bytes[i] = cell->data[cell->len - 1 - i];
#else
		bytes[i] = cell->data[i];
#endif
	}
	switch (cell->len)
	{
		case 1:
			return BoolGetDatum(bytes[0] != 0);
		case 2:
			{
				int16		value;

				memcpy(&value, bytes, 2);
				return Int16GetDatum(value);
			}
		case 4:
			{
				int32		value;

				memcpy(&value, bytes, 4);
				return Int32GetDatum(value);
			}
		default:
			{
				int64		value;

				memcpy(&value, bytes, 8);
				return Int64GetDatum(value);
			}
	}
}

static void
copy_floats(char *to, const uint8_t *from, size_t len, size_t width)
{
#ifdef WORDS_BIGENDIAN
	size_t		i;

	for (i = 0; i < len; i++)
		to[i] = from[(i / width) * width + (width - 1 - i % width)];
#else
	(void) width;
	memcpy(to, from, len);
#endif
}

/* A one-dimensional array from its elements' bytes: no call per element. */
static Datum
float_array(Oid element, size_t width, const uint8_t *data, size_t len)
{
	size_t		size = ARR_OVERHEAD_NONULLS(1) + len;
	ArrayType  *array;

	if (len == 0)
		return PointerGetDatum(construct_empty_array(element));
	array = palloc(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = element;
	ARR_DIMS(array)[0] = (int) (len / width);
	ARR_LBOUND(array)[0] = 1;
	copy_floats(ARR_DATA_PTR(array), data, len, width);
	return PointerGetDatum(array);
}

/* float4 elements for a float8[] column; the other way round would lose digits. */
static Datum
widened_array(const uint8_t *data, size_t len)
{
	size_t		count = len / sizeof(float4);
	float4	   *narrow = palloc(Max(len, 1));
	float8	   *wide = palloc(Max(count * sizeof(float8), 1));
	ArrayType  *array;
	size_t		i;

	copy_floats((char *) narrow, data, len, sizeof(float4));
	for (i = 0; i < count; i++)
		wide[i] = narrow[i];
	if (count == 0)
		return PointerGetDatum(construct_empty_array(FLOAT8OID));
	array = palloc(ARR_OVERHEAD_NONULLS(1) + count * sizeof(float8));
	SET_VARSIZE(array, ARR_OVERHEAD_NONULLS(1) + count * sizeof(float8));
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = FLOAT8OID;
	ARR_DIMS(array)[0] = (int) count;
	ARR_LBOUND(array)[0] = 1;
	memcpy(ARR_DATA_PTR(array), wide, count * sizeof(float8));
	return PointerGetDatum(array);
}

static Datum
floats_datum(AnnexCodec *codec, uint8 encoding, FrameCell *cell, const char *name)
{
	if (codec->kind == CODEC_FLOAT4S && encoding == ENCODING_FLOAT4S)
		return float_array(FLOAT4OID, sizeof(float4), cell->data, cell->len);
	if (codec->kind == CODEC_FLOAT8S && encoding == ENCODING_FLOAT8S)
		return float_array(FLOAT8OID, sizeof(float8), cell->data, cell->len);
	if (codec->kind != CODEC_FLOAT8S)
		wrong_encoding(name, codec);
	return widened_array(cell->data, cell->len);
}

/* Verified text in the database's encoding, as a varlena. */
static Datum
text_datum(FrameCell *cell)
{
	const char *data = (const char *) cell->data;
	char	   *text = pg_any_to_server(data, cell->len, PG_UTF8);

	return PointerGetDatum(cstring_to_text_with_len(text, text == data ? cell->len : strlen(text)));
}

static Datum
receive_datum(AnnexCodec *codec, FrameCell *cell)
{
	StringInfoData bytes;

	if (!OidIsValid(codec->receive.fn_oid))
	{
		Oid			function;

		getTypeBinaryInputInfo(codec->type, &function, &codec->receive_param);
		fmgr_info_cxt(function, &codec->receive, codec->mcxt);
	}
	/* A copy, because receive functions may write a terminator behind an element. */
	initStringInfo(&bytes);
	appendBinaryStringInfo(&bytes, (const char *) cell->data, cell->len);
	return ReceiveFunctionCall(&codec->receive, &bytes, codec->receive_param, codec->typmod);
}

static Datum
input_datum(AnnexCodec *codec, FrameCell *cell)
{
	char	   *copy = palloc(cell->len + 1);

	memcpy(copy, cell->data, cell->len);
	copy[cell->len] = '\0';
	if (!OidIsValid(codec->input.fn_oid))
	{
		Oid			function;

		getTypeInputInfo(codec->type, &function, &codec->input_param);
		fmgr_info_cxt(function, &codec->input, codec->mcxt);
	}
	return InputFunctionCall(&codec->input, pg_any_to_server(copy, cell->len, PG_UTF8),
							 codec->input_param, codec->typmod);
}

/*
 * The column's next value, in the current memory context. `name` is for messages. The
 * caller has switched the client's encoding (annex_utf8_begin).
 */
Datum
annex_decode(AnnexCodec *codec, FrameColumn *column, bool *isnull, const char *name)
{
	FrameCell	cell;

	frame_next_cell(column, &cell);
	*isnull = cell.isnull;
	if (cell.isnull)
		return (Datum) 0;
	switch (column->encoding)
	{
		case ENCODING_FIXED:
			return fixed_datum(codec, &cell, name);
		case ENCODING_FLOAT4S:
		case ENCODING_FLOAT8S:
			return floats_datum(codec, column->encoding, &cell, name);
		case ENCODING_TEXT:
			return input_datum(codec, &cell);
		default:
			if (codec->type == TEXTOID || (codec->type == VARCHAROID && codec->typmod < 0))
				return text_datum(&cell);
			return receive_datum(codec, &cell);
	}
}
