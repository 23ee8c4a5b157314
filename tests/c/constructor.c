/*
 * What runs before `main` and before the constructors of everybody else, and after `main` and after their destructors. The
 * program has both functions; it has this file if it names the third.
 */
void before_all(void);
void after_all(void);

__attribute__((constructor(101))) static void construct(void) {
    before_all();
}

__attribute__((destructor(101))) static void destruct(void) {
    after_all();
}

void have_constructors(void) {
}
