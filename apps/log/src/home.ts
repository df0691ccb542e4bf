/** A line of the home page. */
export interface HomeLink {
  readonly name: string;
  /** What is there, in a sentence without its full stop. */
  readonly about: string;
  /** A path on this server. */
  readonly path: string;
}

/** What a log alone serves. */
export const logLinks: readonly HomeLink[] = [
  { name: 'Transparency log', about: 'Rekor v1: size, root hash and checkpoint', path: '/api/v1/log' },
  { name: 'Transparency log', about: 'Rekor v2: checkpoint of its tiles', path: '/api/v2/checkpoint' },
  { name: 'API', about: 'OpenAPI document', path: '/swagger.json' },
];

/** What a browser finds at `/`. */
export class HomePage {
  readonly html: string;

  constructor(links: readonly HomeLink[]) {
    const rows = links.map(
      ({ name, about, path }) => `<li>${escapeHtml(name)}: <a href="${escapeHtml(path)}">${escapeHtml(about)}</a></li>`,
    );
    this.html = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Chancery</title>
<h1>Chancery</h1>
<p>This server is part of a Sigstore-compatible signing service.</p>
<ul>
${rows.join('\n')}
</ul>
</html>
`;
  }
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
