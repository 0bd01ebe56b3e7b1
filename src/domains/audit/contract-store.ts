import { rowSet, statement, type Tx } from '../../foundation/storage/storage.ts'
import type { AuditContract } from './contract.ts'

const CONTRACTS = rowSet<AuditContract>({
  contract_id: ['uuid', (contract) => contract.contractId],
  expectations: ['json', (contract) => JSON.stringify(contract.expectations)],
})

const INSERT_CONTRACTS = statement(
  'audit_contracts_insert',
  `insert into concordat.audit_contracts (${CONTRACTS.names}) select * from ${CONTRACTS.from(1)} as x on conflict do nothing`,
)

/**
 * Stores the contracts that are not there yet. It waits for others that are storing the same ones: nothing that the
 * transaction does afterwards may wait for them.
 */
export async function writeContracts(tx: Tx, contracts: readonly AuditContract[]): Promise<void> {
  const distinct = new Map(contracts.map((contract) => [contract.contractId, contract]))
  await tx.query(INSERT_CONTRACTS, CONTRACTS.values([...distinct.values()]))
}

/** SQL of the expectations of the run `alias`, as JSON text. */
export function expectationsSql(alias: string): string {
  return `(select c.expectations from concordat.audit_contracts c where c.contract_id = ${alias}.contract_id)`
}
