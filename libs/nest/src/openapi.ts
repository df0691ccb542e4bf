import { z } from 'zod';

/** A body in one media type. Without `schema` it is bytes, or text, of that type. */
export interface ApiContent {
  readonly contentType: string;
  readonly schema?: z.ZodType;
}

export interface ApiResponse {
  readonly description: string;
  /** JSON, unless `contentType` says otherwise. Neither: no body. */
  readonly schema?: z.ZodType;
  readonly contentType?: string;
  /** What each header that clients should look at says. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** One operation of an HTTP API: what is documented, by the schemas that check it. */
export interface ApiOperation {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** `/api/v1/log/entries/{entryUUID}`. A parameter at the end may stand for several segments, where the route ends in `*`. */
  readonly path: string;
  /** Unique in its document. */
  readonly operationId: string;
  readonly summary: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  /** Each an object whose properties are the parameters; what its schema takes as undefined need not be sent. */
  readonly params?: Readonly<Partial<Record<'path' | 'query' | 'header', z.ZodObject>>>;
  /** A schema alone is JSON. */
  readonly body?: z.ZodType | ApiContent | readonly ApiContent[];
  /** Every status that clients see, by number. */
  readonly responses: Readonly<Record<number, ApiResponse>>;
}

export interface ApiDescription {
  readonly title: string;
  readonly version: string;
  readonly description: string;
  readonly operations: readonly ApiOperation[];
}

type JsonObject = Record<string, unknown>;

/** An OpenAPI 3.1 document. */
export interface OpenApiDocument {
  readonly openapi: '3.1.0';
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, JsonObject>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, JsonObject>> };
}

/**
 * The OpenAPI 3.1 document of an app. Schemas stand in it as what may be sent, before any transformation; those with an `id` in their
 * metadata (`schema.meta({ id: 'LogEntry' })`) are named components.
 * Throws plain Error for descriptions that contradict themselves: they are ours.
 * @see OpenAPI Specification 3.1.0
 */
export function openApiDocument({ title, version, description, operations }: ApiDescription): OpenApiDocument {
  const components = new Components();
  const paths: Record<string, Record<string, JsonObject>> = {};
  const ids = new Set<string>();
  for (const operation of operations) {
    if (ids.has(operation.operationId)) throw new Error(`Two operations have the id ${operation.operationId}`);
    ids.add(operation.operationId);
    const methods = (paths[operation.path] ??= {});
    const method = operation.method.toLowerCase();
    if (methods[method] !== undefined) throw new Error(`${operation.method} ${operation.path} is described twice`);
    methods[method] = describeOperation(operation, components);
  }
  return {
    openapi: '3.1.0',
    info: { title, version, description },
    paths,
    components: { schemas: components.sorted() },
  };
}

function describeOperation(operation: ApiOperation, components: Components): JsonObject {
  const { operationId, summary, description, tags, body, responses } = operation;
  const parameters = describeParameters(operation, components);
  return {
    operationId,
    summary,
    ...(description !== undefined && { description }),
    ...(tags !== undefined && { tags }),
    ...(parameters.length > 0 && { parameters }),
    ...(body !== undefined && {
      requestBody: { required: true, content: describeContents(contentsOf(body), components) },
    }),
    responses: Object.fromEntries(
      Object.entries(responses).map(([status, response]) => [status, describeResponse(response, components)]),
    ),
  };
}

function describeParameters({ path, params = {} }: ApiOperation, components: Components): JsonObject[] {
  const inPath = Array.from(path.matchAll(/\{(\w+)\}/g), ([, name]) => name);
  const described = Object.keys(params.path?.shape ?? {});
  if (inPath.join() !== described.join()) {
    throw new Error(`The parameters in the path ${path} are described as (${described.join()})`);
  }
  return (['path', 'query', 'header'] as const).flatMap((place) =>
    Object.entries(params[place]?.shape ?? {}).map(([name, schema]) => {
      const { description, ...rest } = components.schema(schema as z.ZodType);
      const required = place === 'path' || !(schema as z.ZodType).safeParse(undefined).success;
      return { name, in: place, required, ...(description !== undefined && { description }), schema: rest };
    }),
  );
}

function describeResponse(
  { description, schema, contentType, headers }: ApiResponse,
  components: Components,
): JsonObject {
  const content = contentOf(contentType, schema);
  return {
    description,
    ...(headers && {
      headers: Object.fromEntries(
        Object.entries(headers).map(([name, text]) => [name, { description: text, schema: { type: 'string' } }]),
      ),
    }),
    ...(content && { content: describeContents([content], components) }),
  };
}

function contentOf(contentType: string | undefined, schema: z.ZodType | undefined): ApiContent | undefined {
  if (schema === undefined) return contentType === undefined ? undefined : { contentType };
  return { contentType: contentType ?? 'application/json', schema };
}

function contentsOf(body: NonNullable<ApiOperation['body']>): readonly ApiContent[] {
  if (body instanceof z.ZodType) return [{ contentType: 'application/json', schema: body }];
  return 'contentType' in body ? [body] : body;
}

/** A media type without a schema is bytes (OpenAPI 3.1.0 §4.8.14.3). */
function describeContents(contents: readonly ApiContent[], components: Components): JsonObject {
  return Object.fromEntries(
    contents.map(({ contentType, schema }) => [contentType, schema ? { schema: components.schema(schema) } : {}]),
  );
}

/** Types that zod knows and JSON does not. Without this they would be documented as anything; own checks (`z.custom`) say by metadata what they take. */
const inventions: ReadonlySet<string> = new Set([
  'bigint',
  'date',
  'map',
  'set',
  'symbol',
  'undefined',
  'void',
  'nan',
  'function',
  'promise',
]);

/** The named schemas of a document, gathered while it is written. */
class Components {
  readonly #schemas = new Map<string, JsonObject>();

  schema(schema: z.ZodType): JsonObject {
    const {
      $schema: _,
      $defs = {},
      ...json
    } = z.toJSONSchema(schema, {
      target: 'draft-2020-12',
      io: 'input',
      unrepresentable: 'any',
      override: ({ zodSchema: { _zod: zod } }) => {
        if (inventions.has(zod.def.type)) throw new Error(`JSON has no ${zod.def.type}`);
      },
    }) as JsonObject & { $defs?: Record<string, JsonObject> };
    for (const [name, definition] of Object.entries($defs)) this.#add(name, inDocument(definition));
    return inDocument(json);
  }

  sorted(): Record<string, JsonObject> {
    return Object.fromEntries([...this.#schemas].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  #add(name: string, schema: JsonObject): void {
    const known = this.#schemas.get(name);
    if (known !== undefined && JSON.stringify(known) !== JSON.stringify(schema)) {
      throw new Error(`Two schemas have the id ${name}`);
    }
    this.#schemas.set(name, schema);
  }
}

/** References point into the document's components instead of the schema's own definitions. */
function inDocument<T>(json: T): T {
  if (Array.isArray(json)) return json.map(inDocument) as T;
  if (typeof json !== 'object' || json === null) return json;
  const entries: [string, unknown][] = Object.entries(json);
  return Object.fromEntries(
    entries.map(([name, value]) =>
      name === '$ref' && typeof value === 'string'
        ? [name, value.replace('#/$defs/', '#/components/schemas/')]
        : [name, inDocument(value)],
    ),
  ) as T;
}
