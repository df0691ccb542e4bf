import { createHash } from 'node:crypto';

/** A whole page: nothing is fetched for it, and nothing of the request is in it. */
export interface Page {
  readonly status: number;
  readonly html: string;
}

const style = `
  :root { color-scheme: light dark; }
  body { font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 20vh auto 0; padding: 0 1.5rem; }
  h1 { font-size: 1.5rem; font-weight: 600; }
`;

function page(status: number, title: string, text: string): Page {
  const html = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${title}</title>
    <style>${style}</style>
  </head>
  <body>
    <main>
      <h1>${title}</h1>
      <p>${text}</p>
    </main>
  </body>
</html>
`;
  return { status, html };
}

export const welcomePage = page(200, 'You are signed in', 'You may close this window and go back to the terminal.');

/** Says nothing of why: the reasons come from the request, and belong to the person at the terminal. */
export const refusedPage = page(
  400,
  'You are not signed in',
  'The terminal in which you started says why. You may close this window.',
);

export const pageHeaders = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': `default-src 'none'; style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  'cache-control': 'no-store',
  // The address holds the code; it is used up, and still nobody else's business.
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  connection: 'close',
} as const;
