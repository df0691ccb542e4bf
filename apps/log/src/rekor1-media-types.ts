import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { RekorError } from './rekor1-errors.js';

const json = 'application/json';
const pem = 'application/x-pem-file';

/**
 * What Rekor v1 asks of each request: a body is JSON and says so (else 415), and the client takes what we answer (else 406).
 * @see go-openapi/runtime, middleware/context.go
 */
@Injectable()
export class MediaTypeGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const { accept, 'content-type': contentType } = request.headers;
    if (request.body instanceof Uint8Array && request.body.length > 0) checkContentType(contentType);
    if (accept !== undefined) {
      checkAccept(accept, request.routeOptions.url?.endsWith('/publicKey') ? [json, pem] : [json]);
    }
    return true;
  }
}

/** No header at all means bytes of no type (RFC 9110 §8.3). */
function checkContentType(header: string | undefined): void {
  const [type = ''] = (header ?? 'application/octet-stream').split(';', 1);
  const mediaType = type.trim().toLowerCase();
  if (mediaType === json) return;
  const given = JSON.stringify(mediaType.slice(0, 100));
  throw new RekorError('REKOR_CONTENT_TYPE', `unsupported media type ${given}, only [${json}] are allowed`);
}

/** RFC 9110 §12.5.1, as far as it decides between yes and no: the ranking is ours. */
function checkAccept(header: string, offers: readonly string[]): void {
  const refused = new Set<string>();
  const ranges = new Set<string>();
  for (const item of header.split(',', 100)) {
    const [range = '', ...parameters] = item.split(';', 10).map((part) => part.trim().toLowerCase());
    const isRefusal = parameters.some((parameter) => /^q=0(?:\.0{0,3})?$/.test(parameter));
    (isRefusal ? refused : ranges).add(range);
  }
  const takes = offers.some(
    (offer) =>
      !refused.has(offer) && [offer, offer.replace(/\/.*/, '/*'), '*/*', ''].some((range) => ranges.has(range)),
  );
  if (takes) return;
  throw new RekorError('REKOR_ACCEPT', `unsupported media type requested, only [${offers.join(' ')}] are available`);
}
