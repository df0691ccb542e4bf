import { Option, type Command } from 'commander';
import type { Act } from './program.js';
import { addRegistry, parseDuration } from './program-image.js';
import { addPolicyPodman } from './program-simple.js';

/** `chancery policy …` */
export function addPolicy(program: Command, act: Act): void {
  const policy = program
    .command('policy')
    .description('What a deployment accepts: decide by a policy whether an image may run, and say why.');
  addCheck(policy, act);
  addPolicyPodman(policy, act);
}

function addCheck(policy: Command, act: Act): void {
  const check = policy
    .command('check')
    .description('Decide whether an image may run by ClusterImagePolicy documents, and explain each rule and check.')
    .argument('<image>', 'the image, as a workload would name it; a tag is resolved once')
    .requiredOption('--policy <file>', 'policies and trust roots, YAML or JSON, any number of documents')
    .option(
      '--trusted-root <[name=]file>',
      'whom to believe where a policy names no trust root, or under the name it names; may be repeated',
      collect,
    )
    .addOption(
      // commander takes --no-… for the opposite of a flag: the value is found under `match`.
      new Option('--no-match <verdict>', 'for an image that no policy is for')
        .choices(['deny', 'warn', 'allow'])
        .default('deny'),
    )
    .option('--resource <file>', 'the Kubernetes object that would run the image, for policies with match')
    .addOption(
      new Option('--timeout <duration>', 'what is not decided by then is denied: seconds, or as in 1m30s')
        .argParser(parseDuration)
        .default(60_000, '60'),
    )
    .option('--explain', 'show every rule and every check, with what was found and what was expected')
    .option('--json', 'print the decision with its explanation as JSON');
  addRegistry(check)
    .addHelpText(
      'after',
      `
Every policy for the image must pass, each by one of its authorities; one in mode warn is told, and hinders nothing. Globs are matched from the first
character to the last: ** is any text, * any without a slash; so are regular expressions. Every signature must be in a transparency log of the trust root.
A field that is unknown or not honoured is an error. Of our own are policy types cel, jsonschema and rego-wasm, and documents that bind trust roots to names:

  apiVersion: chancery/v1
  kind: TrustedRoot
  metadata: { name: my-root }
  spec: { path: trusted_root.json }   # relative to the policy; or inline: { … }

Exit codes of this command: 0 allowed, 1 denied; 4 and 5 denied because a registry could not be asked; 11 there is no such image.

Examples:
  $ chancery policy check registry.example.com/ns/app:1.2 --policy policy.yaml --trusted-root trusted_root.json
  $ chancery policy check registry.example.com/ns/app:1.2 --policy policy.yaml --trusted-root ours=trusted_root.json --explain
  $ chancery policy check nginx --policy policy.yaml --no-match warn --resource deployment.yaml --json
`,
    )
    .action(act(async () => (await import('./policy-check.js')).checkPolicy));
}

function collect(value: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}
