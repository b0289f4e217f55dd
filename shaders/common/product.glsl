/* The end of a product: y = (product + bias) + residual. */
void finish(uint row, uint column, float product) {
    precise float value = product;
    uint place = column * p.n + row;
    if (is_present(p.bias)) value = value + Floats(p.bias).at[row];
    if (is_present(p.residual)) value = value + Floats(p.residual).at[place];
    Floats(p.y).at[place] = value;
}
