// Headers of what a page asks for by itself, so that it keeps nobody signed in who has gone away.
export const BY_ITSELF = { "X-By-Itself": "1" };
