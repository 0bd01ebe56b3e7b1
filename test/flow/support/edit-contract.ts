/** SQL that gives the run `$1` a contract of its own: that of the others, with `jsonb_set` at this path and value. */
export function editContract(edit: string): string {
  return `
    with edited as (
      insert into concordat.audit_contracts (contract_id, expectations)
      select gen_random_uuid(), jsonb_set(c.expectations::jsonb, ${edit})::json
        from concordat.runs r join concordat.audit_contracts c using (contract_id) where r.run_id = $1
      returning contract_id)
    update concordat.runs set contract_id = (select contract_id from edited) where run_id = $1`
}
