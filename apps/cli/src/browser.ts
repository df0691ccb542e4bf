/** What decides whether this machine has a browser that the person can see. */
export interface Desktop {
  readonly platform: NodeJS.Platform;
  readonly env: Readonly<Record<string, string | undefined>>;
}

type Command = readonly [program: string, ...args: string[]];

/**
 * How to open a page here; undefined where nobody would see it: over SSH, or without a display.
 * `BROWSER` wins over everything: one or more commands with colons between them, `%s` in them for the address.
 */
export function findBrowser(desktop: Desktop): ((url: string) => Promise<void>) | undefined {
  const commands = browserCommands(desktop);
  return commands.length === 0 ? undefined : (url) => openWith(commands, url);
}

function browserCommands({ platform, env }: Desktop): ((url: string) => Command)[] {
  const isSet = (name: string): boolean => (env[name] ?? '') !== '';
  if (isSet('BROWSER')) return (env['BROWSER'] ?? '').split(':').flatMap(parseCommand);
  if (isSet('SSH_CONNECTION') || isSet('SSH_TTY')) return [];
  switch (platform) {
    case 'darwin':
      return [(url) => ['open', url]];
    case 'win32':
      // `start` is a word of cmd.exe, which would read the & of an address as the next command.
      return [(url) => ['rundll32', 'url.dll,FileProtocolHandler', url]];
    default:
      return isSet('DISPLAY') || isSet('WAYLAND_DISPLAY') ? [(url) => ['xdg-open', url]] : [];
  }
}

function parseCommand(text: string): ((url: string) => Command)[] {
  const [program, ...args] = text.split(/\s+/).filter((word) => word !== '');
  if (program === undefined) return [];
  if (!args.some((word) => word.includes('%s'))) return [(url) => [program, ...args, url]];
  return [(url) => [program, ...args.map((word) => word.replaceAll('%s', () => url))]];
}

/** Without a shell: an address may have any character in it. The first command that starts is taken, and is left to itself. */
async function openWith(commands: readonly ((url: string) => Command)[], url: string): Promise<void> {
  let failure: unknown;
  for (const command of commands) {
    try {
      return await start(command(url));
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

async function start([program, ...args]: Command): Promise<void> {
  // Most commands open no browser, and need not wait for what could.
  const { spawn } = await import('node:child_process');
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'ignore', detached: true });
    child.once('error', (error: NodeJS.ErrnoException) => {
      reject(new Error(`${program}: ${error.code ?? 'it does not start'}`, { cause: error }));
    });
    child.once('spawn', () => {
      child.unref();
      resolve();
    });
  });
}
