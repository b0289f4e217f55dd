/* A library that is not a backend. */
int weft_broken_symbol(void);

int weft_broken_symbol(void) {
    return 1;
}
