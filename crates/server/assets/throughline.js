/* Not built yet: run npm run build in client-js. */
