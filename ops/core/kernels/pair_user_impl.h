// The kernel of users (ops/core/pair_user.h); a part of kernels_impl.h,
// included inside its namespace. No include guard on purpose.

// Everything stands on its side, a position a column, so that the keys come out
// as the pair scorer reads them.
void MakePairKeys(const PairUserModel& model, const PairHistory& history,
                  float* scratch, const PairKeys& result) {
  const int64_t columns = history.padded_length;
  float* const embedding = scratch;                          // [inputs, P]
  float* const hidden = embedding + model.inputs * columns;  // [hidden, P]
  for (int64_t i = 0; i < model.inputs; ++i) {
    float* const row = embedding + i * columns;
    for (int64_t place = 0; place < history.length; ++place) {
      row[place] = history.embedding[place * model.inputs + i];
    }
    for (int64_t place = history.length; place < columns; ++place) {
      row[place] = 0.0f;
    }
  }
  const auto zero = [](int64_t) { return Vector{}; };
  Multiply(model.first, model.inputs, embedding, columns, model.inputs, hidden,
           columns, model.hidden, zero, [&](Vector x, int64_t row, int64_t) {
             x += Broadcast(model.first_bias[row]);
             return x > zero(0) ? x : x * Broadcast(model.slope[row]);
           });
  const auto plus_bias = [&](int64_t first_row) {
    return [&, first_row](Vector x, int64_t row, int64_t) {
      return x + Broadcast(model.second_bias[first_row + row]);
    };
  };
  Multiply(model.second, model.hidden, hidden, columns, model.hidden,
           result.keys, columns, model.query_width, zero, plus_bias(0));
  Multiply(model.second + model.query_width * model.hidden, model.hidden,
           hidden, columns, model.hidden, result.bias, columns, 1, zero,
           plus_bias(model.query_width));
  Multiply(history.embedding, model.inputs, model.values, model.width,
           model.inputs, result.values, model.width, history.length, zero,
           [](Vector x, int64_t, int64_t) { return x; });
}
