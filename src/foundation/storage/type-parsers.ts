import pg from 'pg'

const JSON_OID = 114
const INT8_OID = 20

/**
 * How column types become values: `bigint` for int8 (money and counts must not lose digits), raw text for `json`
 * (payloads are decoded by the payload codec, and only when somebody reads them); the driver's defaults for the rest.
 */
export const typeParsers = {
  getTypeParser(oid: number, format?: 'text' | 'binary'): (text: string) => unknown {
    if (oid === INT8_OID) return BigInt
    if (oid === JSON_OID) return (text) => text
    return pg.types.getTypeParser(oid, format as 'text') as (text: string) => unknown
  },
} as unknown as pg.CustomTypesConfig
