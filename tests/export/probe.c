/* Runs rows through `serving_default` of a SavedModel by TensorFlow's C API: the proof that serving an exported
 * model needs neither Python nor AutoFlow.
 *
 * usage: probe VERSION_FOLDER ROWS_FILE ANSWER_FILE
 *
 * ROWS_FILE: int32 rows, int32 columns; for each column int32 length, the raw header, and 's' or 'n'; then for
 * each column of type 's' a string (int32 length, bytes) a row, of type 'n' a double a row.
 * ANSWER_FILE: int32 rows, int32 classes; then for each row the label, the class names (strings as above) and
 * as many floats. All numbers are in the byte order of the machine.
 *
 * Inputs are found by raw header in the signature that lies in the loaded MetaGraphDef; its few fields are read
 * from the wire format, so that no protobuf library is needed either.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

enum { META_GRAPH_SIGNATURES = 5, SIGNATURE_INPUTS = 1, SIGNATURE_OUTPUTS = 2, TENSOR_NAME = 1, TENSOR_DTYPE = 2 };

typedef struct {
  const uint8_t *data;
  size_t length;
} Bytes;

static void fail(const char *what, const char *detail) {
  fprintf(stderr, "probe: %s: %s\n", what, detail);
  exit(1);
}

static void check(TF_Status *status, const char *what) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

static void *allocate(size_t size) {
  void *memory = calloc(size ? size : 1, 1);
  if (!memory) fail("memory", "exhausted");
  return memory;
}

/* --- protobuf wire format --- */

static uint64_t varint(Bytes message, size_t *position) {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (*position >= message.length) fail("MetaGraphDef", "cut off");
    uint8_t byte = message.data[(*position)++];
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  fail("MetaGraphDef", "bad varint");
  return 0;
}

/* Reads the next field; `payload` holds a length-delimited value, `number` a varint. */
static int next_field(Bytes message, size_t *position, int *field, Bytes *payload, uint64_t *number) {
  if (*position >= message.length) return 0;
  uint64_t tag = varint(message, position);
  *field = (int)(tag >> 3);
  *payload = (Bytes){NULL, 0};
  *number = 0;
  switch (tag & 7) {
    case 0: *number = varint(message, position); break;
    case 1: *position += 8; break;
    case 2:
      payload->length = varint(message, position);
      payload->data = message.data + *position;
      *position += payload->length;
      break;
    case 5: *position += 4; break;
    default: fail("MetaGraphDef", "unknown wire type");
  }
  return 1;
}

static int equal(Bytes bytes, const char *text, size_t length) {
  return bytes.length == length && memcmp(bytes.data, text, length) == 0;
}

/* Returns the value under `key` of a map field; keys and values are fields 1 and 2 of its entries. */
static Bytes map_value(Bytes message, int map_field, const char *key, size_t key_length) {
  size_t position = 0;
  int field;
  Bytes entry;
  uint64_t number;
  while (next_field(message, &position, &field, &entry, &number)) {
    if (field != map_field) continue;
    Bytes parts[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}}, part;
    size_t inner = 0;
    int part_field;
    while (next_field(entry, &inner, &part_field, &part, &number))
      if (part_field == 1 || part_field == 2) parts[part_field] = part;
    if (equal(parts[1], key, key_length)) return parts[2];
  }
  char shown[256];
  snprintf(shown, sizeof shown, "%.*s", (int)key_length, key);
  fail("the signature lacks", shown);
  return (Bytes){NULL, 0};
}

/* --- tensors --- */

static TF_Output tensor_of(TF_Graph *graph, Bytes tensor_info, TF_DataType *dtype) {
  size_t position = 0;
  int field;
  Bytes payload, name = {NULL, 0};
  uint64_t number;
  *dtype = 0;
  while (next_field(tensor_info, &position, &field, &payload, &number)) {
    if (field == TENSOR_NAME) name = payload;
    if (field == TENSOR_DTYPE) *dtype = (TF_DataType)number;
  }
  char text[512];
  snprintf(text, sizeof text, "%.*s", (int)name.length, (const char *)name.data);
  char *colon = strrchr(text, ':');
  int index = 0;
  if (colon) {
    *colon = '\0';
    index = atoi(colon + 1);
  }
  TF_Operation *operation = TF_GraphOperationByName(graph, text);
  if (!operation) fail("the graph lacks", text);
  return (TF_Output){operation, index};
}

static void read_exactly(FILE *file, void *into, size_t size) {
  if (size && fread(into, 1, size, file) != size) fail("rows file", "cut off");
}

static int32_t read_int(FILE *file) {
  int32_t value;
  read_exactly(file, &value, sizeof value);
  return value;
}

static char *read_string(FILE *file, int32_t *length) {
  *length = read_int(file);
  char *text = allocate((size_t)*length + 1);
  read_exactly(file, text, (size_t)*length);
  return text;
}

static TF_Tensor *read_column(FILE *file, char type, TF_DataType dtype, int32_t num_rows) {
  int64_t shape[1] = {num_rows};
  if ((type == 's') != (dtype == TF_STRING)) fail("rows file", "a column is of another type than its input");
  TF_Tensor *tensor = TF_AllocateTensor(dtype, shape, 1, TF_DataTypeSize(dtype == TF_STRING ? TF_INT8 : dtype) *
                                        (size_t)num_rows * (dtype == TF_STRING ? sizeof(TF_TString) : 1));
  void *data = TF_TensorData(tensor);
  for (int32_t row = 0; row < num_rows; ++row) {
    if (dtype == TF_STRING) {
      int32_t length;
      char *text = read_string(file, &length);
      TF_StringInit((TF_TString *)data + row);
      TF_StringCopy((TF_TString *)data + row, text, (size_t)length);
      free(text);
      continue;
    }
    double number;
    read_exactly(file, &number, sizeof number);
    if (dtype == TF_DOUBLE)
      ((double *)data)[row] = number;
    else if (dtype == TF_FLOAT)
      ((float *)data)[row] = (float)number;
    else
      fail("signature", "an input is neither string nor float");
  }
  return tensor;
}

static void write_string(FILE *file, const TF_TString *string) {
  int32_t length = (int32_t)TF_StringGetSize(string);
  fwrite(&length, sizeof length, 1, file);
  fwrite(TF_StringGetDataPointer(string), 1, (size_t)length, file);
}

static void write_answer(const char *path, TF_Tensor *label, TF_Tensor *classes, TF_Tensor *scores) {
  FILE *file = fopen(path, "wb");
  if (!file) fail("cannot write", path);
  if (TF_NumDims(label) != 1 || TF_NumDims(classes) != 2 || TF_NumDims(scores) != 2) fail("outputs", "wrong rank");
  int32_t num_rows = (int32_t)TF_Dim(scores, 0), num_classes = (int32_t)TF_Dim(scores, 1);
  fwrite(&num_rows, sizeof num_rows, 1, file);
  fwrite(&num_classes, sizeof num_classes, 1, file);
  for (int32_t row = 0; row < num_rows; ++row) {
    write_string(file, (TF_TString *)TF_TensorData(label) + row);
    for (int32_t i = 0; i < num_classes; ++i)
      write_string(file, (TF_TString *)TF_TensorData(classes) + row * num_classes + i);
    fwrite((float *)TF_TensorData(scores) + (size_t)row * num_classes, sizeof(float), (size_t)num_classes, file);
  }
  if (fclose(file)) fail("cannot write", path);
}

int main(int argc, char **argv) {
  if (argc != 4) fail("usage", "probe VERSION_FOLDER ROWS_FILE ANSWER_FILE");
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_Buffer *meta_graph = TF_NewBuffer();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, meta_graph, status);
  check(status, "loading");

  Bytes meta = {meta_graph->data, meta_graph->length};
  const char *serving = "serving_default";
  Bytes signature = map_value(meta, META_GRAPH_SIGNATURES, serving, strlen(serving));

  FILE *file = fopen(argv[2], "rb");
  if (!file) fail("cannot read", argv[2]);
  int32_t num_rows = read_int(file), num_columns = read_int(file);
  TF_Output *inputs = allocate(sizeof *inputs * (size_t)num_columns);
  TF_Tensor **values = allocate(sizeof *values * (size_t)num_columns);
  TF_DataType *dtypes = allocate(sizeof *dtypes * (size_t)num_columns);
  char *types = allocate((size_t)num_columns);
  for (int32_t column = 0; column < num_columns; ++column) {
    int32_t length;
    char *header = read_string(file, &length);
    read_exactly(file, &types[column], 1);
    Bytes info = map_value(signature, SIGNATURE_INPUTS, header, (size_t)length);
    inputs[column] = tensor_of(graph, info, &dtypes[column]);
    free(header);
  }
  for (int32_t column = 0; column < num_columns; ++column)
    values[column] = read_column(file, types[column], dtypes[column], num_rows);
  fclose(file);

  const char *names[] = {"label", "classes", "scores"};
  TF_Output outputs[3];
  TF_Tensor *answers[3] = {NULL, NULL, NULL};
  TF_DataType output_dtypes[3];
  for (int i = 0; i < 3; ++i)
    outputs[i] = tensor_of(graph, map_value(signature, SIGNATURE_OUTPUTS, names[i], strlen(names[i])), &output_dtypes[i]);
  if (output_dtypes[0] != TF_STRING || output_dtypes[1] != TF_STRING || output_dtypes[2] != TF_FLOAT)
    fail("outputs", "wrong types");
  TF_SessionRun(session, NULL, inputs, values, num_columns, outputs, answers, 3, NULL, 0, NULL, status);
  check(status, "running");
  write_answer(argv[3], answers[0], answers[1], answers[2]);

  for (int32_t column = 0; column < num_columns; ++column) TF_DeleteTensor(values[column]);
  for (int i = 0; i < 3; ++i) TF_DeleteTensor(answers[i]);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  return 0;
}
