import type { Metrics } from '#libs/nest';
import type { CtLogs } from './ct-logs.js';
import type { IssueCertificate } from './issue.js';
import type { IssuanceRates } from './rate-limit.js';

/** What a CA says of itself when somebody looks. No label comes from a request. */
export function addCaMetrics(
  metrics: Metrics,
  { flow, ctLogs, rates }: { flow: IssueCertificate; ctLogs: CtLogs; rates: IssuanceRates },
): void {
  metrics.counter({
    name: 'chancery_ca_certificates_total',
    help: 'Certificates issued',
    collect: () => flow.counts.issued,
  });
  metrics.counter({
    name: 'chancery_ca_refusals_total',
    help: 'Requests for a certificate that were refused, by error code',
    label: 'code',
    collect: () => flow.counts.refused,
  });
  metrics.counter({
    name: 'chancery_ca_rate_limited_total',
    help: 'Requests refused because a rate was exceeded, by what the rate is for',
    label: 'scope',
    collect: () => rates.refused,
  });
  const perLog = (value: (state: ReturnType<CtLogs['states']>[number]) => number) => () =>
    Object.fromEntries(ctLogs.states().map((state) => [state.name, value(state)]));
  metrics.gauge({
    name: 'chancery_ca_ct_log_working',
    help: "1 if the CT log's last answer was good, 0 if it is left alone for a while",
    label: 'log',
    collect: perLog(({ working }) => (working ? 1 : 0)),
  });
  metrics.counter({
    name: 'chancery_ca_ct_log_failures_total',
    help: 'Submissions to the CT log that gave no valid SCT in time',
    label: 'log',
    collect: perLog(({ failures }) => failures),
  });
  metrics.counter({
    name: 'chancery_ca_ct_log_scts_total',
    help: 'Valid SCTs of the CT log',
    label: 'log',
    collect: perLog(({ scts }) => scts),
  });
}
