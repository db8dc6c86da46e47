/*
 * batch.c: rows into BATCH frames, column by column.
 *
 * Fixed-width types and float arrays are copied, everything else goes through its send
 * function. A batch aims at 1 MiB: the row that goes over it is kept back for the next
 * one, unless it is alone. Which rows go in is source.c's business.
 */
#include "annex.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

AnnexBatch *
annex_batch(int ncols)
{
	AnnexBatch *batch = palloc0(sizeof(AnnexBatch));

	batch->ncols = ncols;
	batch->columns = palloc0(sizeof(AnnexBatchColumn) * Max(ncols, 1));
	batch->temporary = AllocSetContextCreate(CurrentMemoryContext, "pgannex batch row",
											 ALLOCSET_DEFAULT_SIZES);
	return batch;
}

/* The encoding that suits values of `type` declared as `wire_type`. */
static uint8
encoding_of(AnnexBatchColumn *column, Oid type)
{
	AnnexCodec *codec = &column->codec;

	if (column->wire_type != type && codec->kind != CODEC_TEXT)
		codec->as_text = true;
	/* The text form of a value is the send form of a text. */
	if (codec->as_text)
		return column->wire_type == TEXTOID ? ENCODING_SEND : ENCODING_TEXT;
	switch (codec->kind)
	{
		case CODEC_FIXED:
			return ENCODING_FIXED;
		case CODEC_FLOAT4S:
			return ENCODING_FLOAT4S;
		case CODEC_FLOAT8S:
			return ENCODING_FLOAT8S;
		default:
			return ENCODING_SEND;
	}
}

/* Describe column `i`: values of `type`, declared to the server as `wire_type`. */
void
annex_batch_column(AnnexBatch *batch, int i, const char *wire_name, Oid wire_type, Oid type)
{
	AnnexBatchColumn *column = &batch->columns[i];

	column->wire_name = (char *) wire_name;
	column->wire_type = wire_type;
	annex_codec(&column->codec, type, -1);
	column->encoding = encoding_of(column, type);
	column->data.owner = column->nulls.owner = CurrentMemoryContext;
}

static bool
is_plain_array(ArrayType *array)
{
	return ARR_NDIM(array) == 0 ||
		(ARR_NDIM(array) == 1 && ARR_LBOUND(array)[0] == 1 && !ARR_HASNULL(array));
}

static bool
holds_floats(const AnnexBatchColumn *column)
{
	return column->encoding == ENCODING_FLOAT4S || column->encoding == ENCODING_FLOAT8S;
}

/*
 * Can the row join this batch? A float array with NULLs or more dimensions cannot join a
 * column of plain ones; in an empty batch the column changes to its send form for good.
 * Detoasts float arrays in place, for the append that follows.
 */
bool
annex_batch_fits(AnnexBatch *batch, Datum *values, const bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(batch->temporary);
	bool		fits = true;
	int			i;

	for (i = 0; i < batch->ncols && fits; i++)
	{
		AnnexBatchColumn *column = &batch->columns[i];

		if (!holds_floats(column) || nulls[i])
			continue;
		values[i] = PointerGetDatum(DatumGetArrayTypeP(values[i]));
		if (is_plain_array(DatumGetArrayTypeP(values[i])))
			continue;
		fits = batch->nrows == 0;
		if (fits)
			column->encoding = ENCODING_SEND;
	}
	MemoryContextSwitchTo(old);
	return fits;
}

#if defined(WORDS_BIGENDIAN) || SIZEOF_DATUM != 8
static void
append_bytes(char *to, const AnnexCodec *codec, Datum value)
{
	int			width = codec->typlen;
	char		bytes[8];
	int			i;

	if (codec->typbyval)
		store_att_byval(bytes, value, width);
	else
		memcpy(bytes, DatumGetPointer(value), width);
	for (i = 0; i < width; i++)
	{
#ifdef WORDS_BIGENDIAN
		to[i] = bytes[width - 1 - i];
#else
		to[i] = bytes[i];
#endif
	}
}
#endif

/*
 * The hot path of a push: millions of values. A Datum by value begins with the value's bytes
 * where the machine is little-endian, so it is stored whole and the next one overlaps what
 * is too much.
 */
static void
append_fixed(AnnexBatchColumn *column, Datum value, bool isnull)
{
	FrameBuffer *data = &column->data;
	FrameBuffer *nulls = &column->nulls;
	int			width = column->codec.typlen;

	if (data->cap - data->len < sizeof(Datum) || nulls->cap == nulls->len)
	{
		frame_reserve(data, sizeof(Datum));
		frame_reserve(nulls, 1);
	}
	if (isnull)
		memset(data->data + data->len, 0, width);
#if !defined(WORDS_BIGENDIAN) && SIZEOF_DATUM == 8
	else
		memcpy(data->data + data->len, &value, sizeof(Datum));
#else
	else
		append_bytes(data->data + data->len, &column->codec, value);
#endif
	data->len += width;
	nulls->data[nulls->len++] = isnull;
	column->has_nulls |= isnull;
}

static void
append_floats(AnnexBatchColumn *column, Datum value, bool isnull)
{
	size_t		width = column->encoding == ENCODING_FLOAT4S ? sizeof(float4) : sizeof(float8);
	ArrayType  *array;
	int			count;

	if (isnull)
	{
		frame_put_u32(&column->nulls, 0xFFFFFFFF);
		return;
	}
	array = DatumGetArrayTypeP(value);
	count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	frame_put_u32(&column->nulls, count);
#ifdef WORDS_BIGENDIAN
	{
		const uint8 *from = (const uint8 *) ARR_DATA_PTR(array);
		size_t		i;

		for (i = 0; i < count * width; i++)
			frame_put_u8(&column->data, from[(i / width) * width + (width - 1 - i % width)]);
	}
#else
	frame_put(&column->data, ARR_DATA_PTR(array), count * width);
#endif
}

static void
append_value(AnnexBatchColumn *column, Datum value, bool isnull)
{
	column->last = column->data.len;
	switch (column->encoding)
	{
		case ENCODING_FIXED:
			append_fixed(column, value, isnull);
			break;
		case ENCODING_FLOAT4S:
		case ENCODING_FLOAT8S:
			append_floats(column, value, isnull);
			break;
		default:
			if (isnull)
				frame_put_u32(&column->data, 0xFFFFFFFF);
			else
				annex_put_value(&column->data, &column->codec, value);
	}
}

static void
append_row(AnnexBatch *batch, const Datum *values, const bool *nulls)
{
	MemoryContext old = MemoryContextSwitchTo(batch->temporary);
	int			i;

	batch->bytes_before = batch->bytes;
	for (i = 0; i < batch->ncols; i++)
	{
		append_value(&batch->columns[i], values[i], nulls[i]);
		batch->bytes += batch->columns[i].data.len - batch->columns[i].last + 4;
	}
	batch->nrows++;
	MemoryContextSwitchTo(old);
	MemoryContextReset(batch->temporary);
}

/* Append a row; annex_batch_fits has been asked. */
void
annex_batch_append(AnnexBatch *batch, const Datum *values, const bool *nulls)
{
	int			saved = annex_utf8_begin();

	if (saved < 0)
	{
		append_row(batch, values, nulls);
		return;
	}
	PG_TRY();
	{
		append_row(batch, values, nulls);
	}
	PG_FINALLY();
	{
		annex_utf8_end(saved);
	}
	PG_END_TRY();
}

bool
annex_batch_full(AnnexBatch *batch, uint32 max_rows)
{
	return batch->nrows >= max_rows || batch->bytes >= ANNEX_BATCH_BYTES;
}

static void
emit_bitmap(AnnexBatchColumn *column, uint32 nrows, FrameBuffer *out)
{
	uint32		row;
	uint8		bits = 0;

	for (row = 0; row < nrows; row++)
	{
		if (column->nulls.data[row])
			bits |= 1 << (row & 7);
		if ((row & 7) == 7 || row == nrows - 1)
		{
			frame_put_u8(out, bits);
			bits = 0;
		}
	}
}

/* Write the first `nrows` rows of a column, which take `bytes` of its data. */
static void
emit_column(AnnexBatchColumn *column, uint32 nrows, size_t bytes, FrameBuffer *out)
{
	size_t		length_at;

	frame_put_u8(out, column->encoding);
	length_at = out->len;
	frame_put_u32(out, 0);
	if (column->encoding == ENCODING_FIXED)
	{
		frame_put_u8(out, column->codec.typlen);
		frame_put_u8(out, column->has_nulls);
		if (column->has_nulls)
			emit_bitmap(column, nrows, out);
	}
	else if (holds_floats(column))
		frame_put(out, column->nulls.data, (size_t) nrows * 4);
	frame_put(out, column->data.data, bytes);
	frame_set_u32(out, length_at, (uint32_t) (out->len - length_at - 4));
}

/* Drop the first `nrows` rows of a column; at most its last row stays. */
static void
drop_rows(AnnexBatchColumn *column, uint32 nrows, size_t bytes)
{
	size_t		unit = column->encoding == ENCODING_FIXED ? 1 : 4;
	size_t		head = Min(nrows * unit, column->nulls.len);

	if (column->data.len > bytes)
		memmove(column->data.data, column->data.data + bytes, column->data.len - bytes);
	column->data.len -= bytes;
	if (column->nulls.len > head)
		memmove(column->nulls.data, column->nulls.data + head, column->nulls.len - head);
	column->nulls.len -= head;
	column->last = 0;
	column->has_nulls = column->encoding == ENCODING_FIXED && column->nulls.len > 0 &&
		column->nulls.data[0];
}

static void
check_frame_size(FrameBuffer *out, size_t start, uint32 max_frame)
{
	size_t		size = out->len - start - FRAME_HEADER_SIZE;

	if (size > max_frame)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a row of %zu bytes is more than the pgannex server takes at once", size),
				 errdetail("code: too_large\nThe limit is %u bytes.", max_frame),
				 errhint("shorten the text, or split it into chunks")));
}

/*
 * Write a BATCH frame with all rows but one that is over the size. True if that one is
 * left in the batch; then LAST is not set, for one more frame must follow.
 */
bool
annex_batch_emit(AnnexBatch *batch, FrameBuffer *out, uint32 seq, bool last, uint32 max_frame)
{
	bool		keep = batch->nrows > 1 && batch->bytes > ANNEX_BATCH_BYTES;
	uint32		nrows = batch->nrows - keep;
	size_t		start = frame_begin(out, FRAME_BATCH, last && !keep ? FLAG_LAST : 0, seq);
	int			i;

	frame_put_u32(out, nrows);
	frame_put_u16(out, batch->ncols);
	for (i = 0; i < batch->ncols; i++)
	{
		AnnexBatchColumn *column = &batch->columns[i];
		size_t		bytes = keep ? column->last : column->data.len;

		emit_column(column, nrows, bytes, out);
		drop_rows(column, nrows, bytes);
	}
	check_frame_size(out, start, max_frame);
	frame_finish(out, start);
	batch->nrows = keep;
	batch->bytes -= keep ? batch->bytes_before : batch->bytes;
	return keep;
}
